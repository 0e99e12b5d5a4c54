"""The `tuition` command. The one room of the library that may reach up to the stages."""
