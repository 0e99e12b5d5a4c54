"""pretrain: all labelled data → a teacher, where the user brings none."""
