"""Where tasks run. A task is a function of picklable arguments that writes its own result and returns a record."""
