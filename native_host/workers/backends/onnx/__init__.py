"""ONNX models by onnxruntime: causal language models, embeddings, rerankers."""
