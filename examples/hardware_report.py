"""What this machine is, and which llama.cpp build suits it.

Run: python examples/hardware_report.py
"""

import tabagent_model

GIB = 1 << 30

cpu = tabagent_model.get_cpu_info()
memory = tabagent_model.get_memory_info()
print(f"processor   {cpu['vendor']} {cpu['brand']}, {cpu['physical_cores']} cores")
print(f"variant     {tabagent_model.get_cpu_variant()}")
print(f"memory      {memory['available_bytes'] / GIB:.1f} of {memory['total_bytes'] / GIB:.1f} GiB free")
for gpu in tabagent_model.get_gpu_info():
    print(f"GPU         {gpu['name']}")

print(f"llama.cpp   {tabagent_model.get_optimal_binary('libllama.so')}")
for candidate in tabagent_model.explain_binary("libllama.so"):
    print(f"  {candidate['outcome']}: {candidate['path']} ({candidate['reason']})")
