"""What a teacher's answer is: one module a kind of answer."""
