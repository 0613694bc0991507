"""What the model scripts share: Llama-shaped weights, byte-level tokenizers, the text and the training loop.

Nothing here is imported by the software itself; it runs when a model is made or derived.
"""
