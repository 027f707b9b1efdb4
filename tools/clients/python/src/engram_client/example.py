"""Streams a thousand observations, then recalls some: `python -m engram_client.example [ADDRESS]`.

The texts are made up, and so are their embeddings: a vector of words drawn by chance. A program of
yours has a model.
"""

from __future__ import annotations

import asyncio
import random
import sys

from engram_client import AsyncClient, Client, Episode, Recall

SPACE = "engram-example"
DIMENSION = 768
WHO = ["Ada", "Grace", "Edsger", "Barbara"]
WHAT = [
    "lost her keys",
    "found a moth in the relay",
    "took the shortest path",
    "proved it",
    "read the log",
]
WHERE = ["in the kitchen", "in the lab", "by the sea", "on the train"]


def embed(text: str) -> list[float]:
    """The sum of a vector for each word."""
    numbers = [0.0] * DIMENSION
    for word in text.split():
        of_word = random.Random(word)
        numbers = [sum_ + of_word.gauss(0, 1) for sum_ in numbers]
    return numbers


def episodes(count: int) -> list[Episode]:
    """Some of what may happen."""
    texts = [f"{who} {what} {where}" for who in WHO for what in WHAT for where in WHERE]
    known = [Episode(what=text, embedding=embed(text), who=[text.split()[0]]) for text in texts]
    return [known[number % len(known)] for number in range(count)]


async def stream(address: str, count: int) -> int:
    """Observes; returns the last durable sequence."""
    async with AsyncClient(address) as client:
        async with await client.open_session(SPACE) as session:
            durable = [await session.observe(episode) for episode in episodes(count)]
            receipts = await asyncio.gather(*durable)
            print(f"{len(receipts)} observations are durable, the last as {receipts[-1].memory_id}")
            return await session.close()


def ask(address: str, question: str) -> list[str]:
    """Recalls, without asyncio for once."""
    with Client(address) as client:
        found = client.recall(SPACE, Recall(embed(question), max_results=3))
        print(f"{question!r}, of {found.rows} memories:")
        for memory in found.memories:
            print(f"  {memory.activation:.2f}  {memory.content}")
        return [memory.content for memory in found.memories]


def main(arguments: list[str]) -> None:
    address = arguments[0] if arguments else "127.0.0.1:50051"
    asyncio.run(stream(address, 1_000))
    ask(address, "Grace found a moth")


if __name__ == "__main__":
    main(sys.argv[1:])
