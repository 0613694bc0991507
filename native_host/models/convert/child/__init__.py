"""The conversion's own process. Only this package imports torch, transformers, onnx and onnxruntime."""
