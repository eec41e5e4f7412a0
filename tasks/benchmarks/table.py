"""The table of benchmarks: a name, and the module whose BENCHMARK it is. It imports nothing."""

__all__ = ["BENCHMARKS", "DEFAULT"]

BENCHMARKS = {
    "alpaca_eval": "tasks.benchmarks.alpaca_eval",
    "mt_bench": "tasks.benchmarks.mt_bench",
    "arena_hard": "tasks.benchmarks.arena_hard",
    "ifeval": "tasks.benchmarks.ifeval",
    "ifbench": "tasks.benchmarks.ifbench",
    "gsm8k": "tasks.benchmarks.gsm8k",
}
# What a run judges if it does not say; a family's own file of instructions has its form.
DEFAULT = "alpaca_eval"
