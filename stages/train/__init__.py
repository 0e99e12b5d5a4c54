"""train: comparison sets and owned outputs → a student. Runs where only torch is installed; never calls a teacher."""
