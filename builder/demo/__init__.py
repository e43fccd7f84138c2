"""The guided tour: real data, a real BERT, the real server, and what it recommends."""
