"""Tests that the Rust bindings are installed and see this machine: TabAgent's own test script.

python scripts/test_rust_bindings.py
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the checks; 0 if all pass."""
    print("🧪 Testing TabAgent Rust Model Bindings")
    print("=" * 60)
    try:
        import tabagent_model
    except ImportError as error:
        print(f"❌ Cannot import tabagent_model: {error}")
        print("   Build it first: cd model-bindings && maturin develop --release")
        return 1
    print("✅ Successfully imported tabagent_model")

    print("\n1️⃣ Testing hardware detection...")
    variant = tabagent_model.get_cpu_variant()
    print(f"   CPU Variant: {variant}")
    if not variant.startswith("bitnet-"):
        print("❌ That is no variant's name")
        return 1
    try:
        print(f"   Binary Path: {tabagent_model.get_optimal_binary('llama.dll')}")
    except FileNotFoundError as error:
        print(f"❌ {error}")
        print("   Build the runtime first: python scripts/build_runtime.py --native")
        return 1

    print("\n2️⃣ Testing PyModel class...")
    model = tabagent_model.PyModel()
    documented = [
        "load",
        "vocab_size",
        "context_train_size",
        "embedding_dim",
        "token_bos",
        "token_eos",
        "token_nl",
    ]
    missing = [name for name in documented if not callable(getattr(model, name, None))]
    if missing:
        print(f"❌ PyModel lacks {', '.join(missing)}")
        return 1
    print("   ✅ PyModel class available")

    print("\n" + "=" * 60)
    print("✅ ALL TESTS PASSED!")
    return 0


if __name__ == "__main__":
    sys.exit(main())
