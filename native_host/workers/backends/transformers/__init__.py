"""SafeTensors models by transformers and torch: causal language models, embeddings, rerankers."""
