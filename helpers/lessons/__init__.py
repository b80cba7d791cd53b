"""What only notebooks call: claims and their ledger, exercises, quizzes, widgets, tables and plots, a server."""
