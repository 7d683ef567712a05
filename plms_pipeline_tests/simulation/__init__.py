"""Whole months of the control room in seconds: the real actions, with clock, chance, executor and crashes in one hand.

Every action reaches the world only through what is handed in, so a simulator can hand in a clock that jumps, an executor
that answers late, twice or never, and a registry that lets the process die before or after any transaction. After each step the
rules that must always hold are asked of the rows; from time to time the world calms down, and everything must come to its
end. All chance comes from one seed: a failing one replays.
"""
