"""Images: uint8 pixels (C, H, W), each sample of one study of the same shape."""
