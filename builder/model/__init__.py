"""The network: text encoder, interest adapter, linear term, and the checkpoint that holds them."""
