"""A desk in memory: candles through strategies, gate and matching engine, and what came of it."""
