"""Where does Dagster keep its state, and who started a run? One instance per data directory."""
