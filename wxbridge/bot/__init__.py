"""People ask in the chat, the bridge answers: a table of commands, and what decides who may use them."""
