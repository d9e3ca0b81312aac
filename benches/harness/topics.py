"""Deletes a topic: topics.py BROKERS TOPIC. Runs with the Python of `peers.tools`."""

import sys

from confluent_kafka.admin import AdminClient

brokers, topic = sys.argv[1:]
client = AdminClient({"bootstrap.servers": brokers})
for done in client.delete_topics([topic], operation_timeout=30).values():
    done.result()
