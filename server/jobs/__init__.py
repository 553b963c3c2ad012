"""Jobs without a transport: what was asked, how far it is, what came of it, over a database."""
