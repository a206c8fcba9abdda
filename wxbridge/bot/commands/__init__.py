"""The commands of the chat, a module a subject."""
