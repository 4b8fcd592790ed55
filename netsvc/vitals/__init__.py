"""How this node is: whether it can keep mail, how long its reactor was held up, and what operators see of that."""
