"""Deletes a topic, or creates one: topics.py BROKERS TOPIC [PARTITIONS SETTINGS]. Runs with the
Python of `peers.tools`.

SETTINGS is a JSON object with the topic's options.
"""

import json
import sys

from confluent_kafka.admin import AdminClient, NewTopic

brokers, topic, *new = sys.argv[1:]
client = AdminClient({"bootstrap.servers": brokers})
if new:
    made = client.create_topics([NewTopic(topic, int(new[0]), 1, config=json.loads(new[1]))], operation_timeout=30)
else:
    made = client.delete_topics([topic], operation_timeout=30)
for done in made.values():
    done.result()
