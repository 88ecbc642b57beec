"""The leaderboard: sealed results of a frozen list, which anyone can enter, check and rank."""
