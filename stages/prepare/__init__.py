"""Raw data from any source -> arrays with content ids, in splits that share no sample."""
