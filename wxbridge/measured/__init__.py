"""What is known of machines: their figures over time, kept in memory and in the database, and told in words.

The service that measures is `wxbridge.host`; what a job, a chat command and a chart need of its results is here.
"""
