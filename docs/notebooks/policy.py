# %% [markdown]
# # Policy
#
# What a model would recommend is not always what a shop wants to show. This notebook filters,
# boosts and limits lists, makes them differ, explains them, and measures what that costs. It
# needs the run of the notebook [Train and serve](train_and_serve.py), in the same directory.

# %%
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from builder.serving import TritonServer
from client import RecommenderClient


def builder(command: str) -> str:
    """Run `python -m builder` with a command; what it prints."""
    arguments = [sys.executable, "-m", "builder", *shlex.split(command)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


products = pd.read_csv("shop/products.csv", index_col="product_id")

# %% [markdown]
# ## Attributes
#
# Rules speak of [attributes](../policy-expressions.md): columns of the product file that the export
# names.

# %%
attributes = "--attributes category,maker,price"
print(builder(f"export --checkpoint runs/shop --repository shop-models {attributes}"))
server = TritonServer(Path("shop-models"))
server.start()
client = RecommenderClient(server.grpc_address, timeout=30)
history = ["p0", "p3", "p15"]  # two products for coffee, and a teapot


def show(items: Iterable[str]) -> None:
    print(products.loc[list(items)].to_string(), "\n")


show(history)
show(client.recommend(history, top_k=6).ids)

# %% [markdown]
# ## Filter
#
# A filter leaves products out before anything is searched, so the list stays full.

# %%
filtered = client.recommend(history, top_k=6, filter='price < 100 and maker != "Alba"')
show(filtered.ids)

# %% [markdown]
# ## Boost
#
# A boost raises or lowers scores. The interest in the answer stays what the model expects, so it
# can still be compared.

# %%
boosted = client.recommend(history, top_k=6, boost='*2 if maker == "Cirrus"', trace=True)
show(boosted.ids)
print(boosted.trace.items)

# %% [markdown]
# ## Limits
#
# At most so many of a kind, or at least so many. `trace` says which products had to go.

# %%
limited = client.recommend(
    history, top_k=6, limits="at most 2 per category; at least 1 where price > 150", trace=True
)
show(limited.ids)
print(limited.trace.removed)

# %% [markdown]
# ## Diversity
#
# Limits need somebody who knows what is too much. `diversity` needs nobody: it takes products
# that the model finds unlike each other. How many categories do the lists of 50 customers hold?

# %%
customers = pd.read_csv("shop/events.csv").groupby("customer_id")["product_id"].agg(list)[:50]
strengths = [0.0, 0.2, 0.4, 0.6, 0.8]
categories = []
for strength in strengths:
    lists = [client.recommend(each, top_k=6, diversity=strength).ids for each in customers]
    numbers = [products.loc[list(each), "category"].nunique() for each in lists]
    categories.append(sum(numbers) / len(numbers))
plt.plot(strengths, categories, marker="o")
plt.xlabel("diversity")
plt.ylabel("categories in a list of 6")
plt.savefig("diversity.png")

# %% [markdown]
# ## Explain
#
# Why is a product in the list? The answer names the events that speak for it, and the parts of
# its score.

# %%
found = client.recommend(history, top_k=3, explain=True)
titles = products["title"].to_dict()
for item, reason in zip(found, found.reasons or (), strict=True):
    print(f"{titles[item.id]}: {reason.sentence(titles)}")
    print("   ", Counter(reason.terms).most_common())

# %%
client.close()
server.stop()

# %% [markdown]
# ## A policy in a file
#
# What every list has to keep belongs in a file, not in each caller. Under `always` stands what a
# request cannot change. `policy check` finds a rule that does not fit the products.

# %%
Path("policy.yaml").write_text(
    """\
diversity: 0.4
boost: '*1.2 if maker == "Cirrus"'
always:
  filter: price < 150
  limits: at most 3 per category
"""
)
print(builder("policy check policy.yaml --repository shop-models"))

# %% [markdown]
# ## What it costs
#
# `evaluate --policy` makes the lists of all test customers with the policy and without it, by the
# code that serves. A policy that hides what customers buy costs quality, and this one does: the
# filter hides every product of 150 and more. Where an interval holds 0, the difference may be
# chance.

# %%
print(builder("evaluate runs/shop --policy policy.yaml --by category"))

# %% [markdown]
# The next export can make the file the default of its version: `export --policy policy.yaml`.
# [Policy](../policy.md) has all options, and what each costs the server.
