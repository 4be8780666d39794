"""The simulated exchange: a pure matching engine over candles and one HTTP dialect per venue."""
