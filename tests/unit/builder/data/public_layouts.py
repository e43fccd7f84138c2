"""Public data sets in the form in which they are downloaded, small and with content of our own."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

START = 1_700_000_000  # 14 November 2023
USERS, ITEMS = 3, 4
TITLES = ("Löwe", "Zebra", "Ape", "Yak")


@dataclass(frozen=True)
class PublicLayout:
    """A data set of three users and four items, in which each user met each item once.

    Attributes
    ----------
    hint
        Options that the error message names, and without which it is not read.
    text
        What the text of the first item holds.
    timed
        Whether the events have times.
    """

    name: str
    files: Mapping[str, bytes]
    hint: Sequence[str] = ()
    text: str = TITLES[0]
    timed: bool = True
    rated: bool = True


def events() -> Iterator[tuple[int, int, int, int]]:
    """User, item, rating and time of each event."""
    for number, (user, item) in enumerate(product(range(1, USERS + 1), range(1, ITEMS + 1))):
        yield user, item, 1 + number % 5, START + 86_400 * number


def lines(form: str, header: str = "", end: str = "\n", encoding: str = "utf-8") -> bytes:
    """A line for each event: user, item, rating and time are ``{u}``, ``{i}``, ``{r}``, ``{t}``."""
    rows = [
        form.format(u=user, i=item, r=rating, t=time, d=time // 86_400 % 28 + 1)
        for user, item, rating, time in events()
    ]
    return "".join(row + end for row in ([header] if header else []) + rows).encode(encoding)


def items(form: str, header: str = "", encoding: str = "utf-8") -> bytes:
    """A line for each item: ``{i}`` is its id, ``{n}`` its title."""
    rows = [form.format(i=item, n=title) for item, title in enumerate(TITLES, start=1)]
    return "".join(row + "\n" for row in ([header] if header else []) + rows).encode(encoding)


def json_lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue()


def arrow(rows: Sequence[Mapping[str, object]]) -> bytes:
    table = pa.Table.from_pylist(list(rows))
    sink = pa.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def rows_of(**names: str) -> list[dict[str, object]]:
    """The events as objects: role → name of the key."""
    roles = ("user", "item", "rating", "time")
    return [
        {names[role]: value for role, value in zip(roles, event, strict=True) if role in names}
        for event in events()
    ]


def titles(key: str, name: str, **more: object) -> list[dict[str, object]]:
    return [{key: item, name: title, **more} for item, title in enumerate(TITLES, start=1)]


def _python(rows: Sequence[Mapping[str, object]]) -> bytes:
    return gzip.compress("".join(f"{dict(row)!r}\n" for row in rows).encode())


_AMAZON = rows_of(user="reviewerID", item="asin", rating="overall", time="unixReviewTime")
_STEAM = [
    {
        "username": f"u{user}",
        "hours": 1.5,
        "product_id": str(item),
        "text": "so 'good'",
        "date": f"2017-12-{rating:02}",
    }
    for user, item, rating, _ in events()
]
_YELP = [
    {
        "review_id": "r",
        "user_id": f"u{user}",
        "business_id": f"b{item}",
        "stars": rating,
        "useful": 0,
        "text": "nice",
        "date": f"2017-0{rating}-14 22:26:07",
    }
    for user, item, rating, _ in events()
]
_SEQUENCES = "".join(f"{user}\t1 2 3\t4\n" for user in range(1, USERS + 1))
_PREFIXES = "".join(
    f"{user}\t{' '.join(map(str, range(1, last)))}\t{last}\n"
    for user in range(1, USERS + 1)
    for last in range(2, ITEMS + 1)
)
_MIND = "".join(
    f"{user}00{day}\tU{user}\t11/{11 + day}/2019 9:05:58 AM\tN1\tN{item}-1 N1-0 N{5 - item}-0\n"
    for user in range(1, USERS + 1)
    for day, item in enumerate((4, 3, 2))
)
_LOG = "user_id,item_id,timestamp\n"

LAYOUTS: Sequence[PublicLayout] = (
    PublicLayout(
        "MovieLens 1M and 10M",
        {
            "ratings.dat": lines("{u}::{i}::{r}::{t}"),
            "movies.dat": items("{i}::{n} (1995)::Drama|War", encoding="latin-1"),
            "users.dat": b"1::F::1::10::48067\n",
            "README": b"SUMMARY\n",
        },
        text="Löwe (1995) Drama War",
    ),
    PublicLayout(
        "MovieLens 20M, 25M, 32M and latest",
        {
            "ratings.csv": lines("{u},{i},{r}.0,{t}", "userId,movieId,rating,timestamp"),
            "movies.csv": items('{i},"{n} (1995)",Drama|War', "movieId,title,genres"),
            "tags.csv": lines("{u},{i},funny,{t}", "userId,movieId,tag,timestamp"),
            "links.csv": items("{i},0,0", "movieId,imdbId,tmdbId"),
        },
        text="Löwe (1995) Drama War",
    ),
    PublicLayout(
        "MovieLens 100K",
        {
            "u.data": lines("{u}\t{i}\t{r}\t{t}"),
            "u.item": items("{i}|{n} (1995)|01-Jan-1995||http://x" + "|0" * 19, encoding="latin-1"),
            "u.genre": b"unknown|0\n",
        },
        text="Löwe (1995)",
    ),
    PublicLayout(
        "MovieTweetings",
        {
            "ratings.dat": lines("{u}::{i}::{r}::{t}"),
            "movies.dat": items("{i}::{n} (2013)::Drama"),
            "users.dat": b"1::139564917\n",
        },
        text="Löwe (2013) Drama",
    ),
    PublicLayout(
        "RecBole",
        {
            "x.inter": lines(
                "{u}\t{i}\t{r}\t{t}",
                "user_id:token\titem_id:token\trating:float\ttimestamp:float",
            ),
            "x.item": items("{i}\t{n}", "item_id:token\ttitle:token_seq"),
        },
    ),
    PublicLayout(
        "RecBole, columns of its own",
        {
            "x.inter": lines("{u}\t{i}\t{r}", "user_id:token\tartist_id:token\tweight:float"),
            "x.item": items("{i}\t{n}", "artist_id:token\tname:token_seq"),
        },
        timed=False,
    ),
    PublicLayout(
        "RecBole, sequences",
        {
            "x.inter": b"session_id:token\titem_id_list:token_seq\titem_id:token\n"
            + _SEQUENCES.encode(),
            "x.item": items("{i}\t{n}", "item_id:token\ttitle:token_seq"),
        },
        timed=False,
        rated=False,
    ),
    PublicLayout(
        "RecBole, a row for each prefix",
        {
            "x.inter": b"user_id:token\titem_id_list:token_seq\titem_id:token\n"
            + _PREFIXES.encode(),
            "x.item": items("{i}\t{n}", "item_id:token\ttitle:token_seq"),
        },
        timed=False,
        rated=False,
    ),
    PublicLayout(
        "MIND",
        {
            "behaviors.tsv": _MIND.encode(),
            "news.tsv": items('N{i}\tnews\tworld\t{n}\tLong "text".\thttps://x\t[]\t[]'),
            "entity_embedding.vec": b"Q41\t0.1\t0.2\n",
        },
        text="Löwe news world",
        rated=False,
    ),
    PublicLayout(
        "Book-Crossing",
        {
            "BX-Book-Ratings.csv": lines(
                '"{u}";"{i}";"{r}"', '"User-ID";"ISBN";"Book-Rating"', "\r\n", "latin-1"
            ),
            "BX-Books.csv": items(
                '"{i}";"{n}";"Someone";"1995"',
                '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication"',
                "latin-1",
            ),
            "BX-Users.csv": b'"User-ID";"Location";"Age"\n"1";"k\xf6ln";NULL\n',
        },
        hint=("--encoding", "latin-1"),
        text="Löwe Someone",
        timed=False,
    ),
    PublicLayout(
        "HetRec, Last.fm",
        {
            "user_artists.dat": lines("{u}\t{i}\t{r}", "userID\tartistID\tweight"),
            "artists.dat": items("{i}\t{n}\thttp://x", "id\tname\turl"),
            "user_friends.dat": b"userID\tfriendID\n1\t2\n",
            "tags.dat": b"tagID\ttagValue\n1\tmetal\n",
        },
        timed=False,
    ),
    PublicLayout(
        "HetRec, MovieLens",
        {
            "user_ratedmovies-timestamps.dat": lines(
                "{u}\t{i}\t{r}\t{t}000", "userID\tmovieID\trating\ttimestamp"
            ),
            "user_ratedmovies.dat": lines(
                "{u}\t{i}\t{r}\t{d}\t11\t2006",
                "userID\tmovieID\trating\tdate_day\tdate_month\tdate_year",
            ),
            "movies.dat": items("{i}\t{n}\t0114709", "id\ttitle\timdbID"),
            "movie_genres.dat": items("{i}\tDrama", "movieID\tgenre"),
        },
    ),
    PublicLayout(
        "dates in several columns",
        {
            "interactions.csv": lines(
                "{u},{i},{d},1,2006,9,5",
                "user_id,item_id,date_day,date_month,date_year,date_hour,date_minute",
            ),
            "items.csv": items("{i},{n}", "item_id,title"),
        },
        rated=False,
    ),
    PublicLayout(
        "Amazon 2014",
        {
            "reviews_Pets_5.json.gz": gzip.compress(json_lines(_AMAZON)),
            "meta_Pets.json.gz": _python(titles("asin", "title", categories=[["Pets", "Cats"]])),
        },
    ),
    PublicLayout(
        "Amazon 2018",
        {
            "Pets_5.json.gz": gzip.compress(
                json_lines([{**row, "reviewText": "good", "verified": True} for row in _AMAZON])
            ),
            "meta_Pets.json.gz": gzip.compress(
                json_lines(titles("asin", "title", imageURL=["https://x/y.jpg"], rank="1"))
            ),
        },
    ),
    PublicLayout(
        "Amazon 2018, ratings only",
        {
            "Pets.csv": lines("B{i},A{u},{r}.0,{t}"),
            "meta_Pets.json.gz": gzip.compress(
                json_lines(
                    [
                        {"asin": f"B{row['asin']}", "title": row["title"]}
                        for row in titles("asin", "title")
                    ]
                )
            ),
        },
        hint=("--interactions", "Pets.csv", "--columns", "item,user,rating,time"),
    ),
    PublicLayout(
        "Amazon 2023",
        {
            "Pets.jsonl.gz": gzip.compress(
                json_lines(
                    [
                        {
                            "rating": rating,
                            "title": "Good",
                            "text": "So",
                            "images": [],
                            "asin": f"v{item}",
                            "parent_asin": f"p{item}",
                            "user_id": f"u{user}",
                            "timestamp": time * 1000,
                            "verified_purchase": True,
                        }
                        for user, item, rating, time in events()
                    ]
                )
            ),
            "meta_Pets.jsonl.gz": gzip.compress(
                json_lines(
                    [
                        {
                            "main_category": "Pets",
                            "title": title,
                            "parent_asin": f"p{item}",
                            "images": [{"large": "https://x"}],
                            "details": {"Brand": "X"},
                        }
                        for item, title in enumerate(TITLES, start=1)
                    ]
                )
            ),
        },
    ),
    PublicLayout(
        "Steam",
        {
            "steam_reviews.json.gz": _python(_STEAM),
            "steam_games.json.gz": _python(
                [
                    {"id": str(item), "app_name": title, "genres": ["Action"]}
                    for item, title in enumerate(TITLES, start=1)
                ]
            ),
        },
        rated=False,
    ),
    PublicLayout(
        "Steam, as on Kaggle",
        {
            "recommendations.csv": lines(
                "{i},0,0,2022-12-{d:02},true,36.3,{u},7",
                "app_id,helpful,funny,date,is_recommended,hours,user_id,review_id",
            ),
            "games.csv": items("{i},{n},2008-10-08", "app_id,title,date_release"),
            "users.csv": b"user_id,products,reviews\n1,3,4\n",
        },
    ),
    PublicLayout(
        "Yelp",
        {
            "yelp_academic_dataset_review.json": json_lines(_YELP),
            "yelp_academic_dataset_tip.json": json_lines(
                [
                    {key: row[key] for key in ("user_id", "business_id", "text", "date")}
                    for row in _YELP
                ]
            ),
            "yelp_academic_dataset_business.json": json_lines(
                [
                    {
                        "business_id": f"b{item}",
                        "name": title,
                        "stars": 4.5,
                        "attributes": {"WiFi": "no"},
                        "categories": "Bars, Pubs",
                    }
                    for item, title in enumerate(TITLES, start=1)
                ]
            ),
            "yelp_academic_dataset_user.json": json_lines([{"user_id": "u1", "name": "Ann"}]),
            "yelp_academic_dataset_checkin.json": json_lines(
                [{"business_id": "b1", "date": "2017-01-01 10:00:00, 2017-01-02 10:00:00"}]
            ),
        },
        text="Löwe",
    ),
    PublicLayout(
        "Gowalla",
        {
            "loc-gowalla_totalCheckins.txt.gz": gzip.compress(
                lines("{u}\t2010-10-{d:02}T23:55:27Z\t30.2359091167\t-97.7951395833\t22{i}")
            )
        },
        hint=(
            *("--interactions", "loc-gowalla_totalCheckins.txt.gz"),
            *("--columns", "user,time,column_3,column_4,item"),
        ),
        text="221",
        rated=False,
    ),
    PublicLayout(
        "Taobao",
        {"UserBehavior.csv": lines("{u},{i},88{i},pv,{t}")},
        hint=(
            "--interactions",
            "UserBehavior.csv",
            "--columns",
            "user,item,column_3,action,time",
        ),
        text="1",
        rated=False,
    ),
    PublicLayout(
        "Criteo-style labels",
        {
            "train.csv": lines("{u},{i},0,{t}", "user_id,item_id,label,timestamp"),
            "products.csv": items("{i},{n}", "item_id,title"),
        },
    ),
    PublicLayout(
        "Hugging Face datasets, saved to disk",
        {
            "interactions/dataset_dict.json": b'{"splits": ["train"]}',
            "interactions/train/data-00000-of-00001.arrow": arrow(
                rows_of(user="user_id", item="item_id", time="timestamp", rating="rating")
            ),
            "interactions/train/state.json": b"{}",
            "items/data-00000-of-00001.arrow": arrow(titles("item_id", "title")),
            "items/dataset_info.json": b"{}",
        },
    ),
    PublicLayout(
        "Spark, directories of Parquet",
        {
            "clicks.parquet/_SUCCESS": b"",
            "clicks.parquet/part-00000.snappy.parquet": parquet(
                rows_of(user="visitorid", item="itemid", time="timestamp")[:5]
            ),
            "clicks.parquet/part-00001.snappy.parquet": parquet(
                rows_of(user="visitorid", item="itemid", time="timestamp")[5:]
            ),
            "catalogue.parquet/part-00000.snappy.parquet": parquet(titles("itemid", "name")),
        },
        rated=False,
    ),
    PublicLayout(
        "goodbooks-10k",
        {
            "ratings.csv": lines("{u},{i},{r}", "user_id,book_id,rating"),
            "books.csv": items(
                "{i},{i}00,{n},https://x/{i}.jpg", "book_id,goodreads_book_id,title,image_url"
            ),
            "to_read.csv": lines("{u},{i}", "user_id,book_id"),
        },
        timed=False,
    ),
    PublicLayout(
        "Anime",
        {
            "rating.csv": lines("{u},{i},{r}", "user_id,anime_id,rating"),
            "anime.csv": items(
                "{i},{n},Drama,TV,1,9.37", "anime_id,name,genre,type,episodes,rating"
            ),
        },
        text="Löwe Drama TV",
        timed=False,
    ),
    PublicLayout(
        "H&M",
        {
            "transactions_train.csv": lines(
                "2018-09-{d:02},{u},0{i},0.05,2",
                "t_dat,customer_id,article_id,price,sales_channel_id",
            ),
            "articles.csv": items("0{i},{n},Vest", "article_id,prod_name,product_type_name"),
            "customers.csv": b"customer_id,age\n1,49\n",
        },
        text="Löwe Vest",
        rated=False,
    ),
    PublicLayout(
        "a shop's own export",
        {
            "orders.csv.bz2": bz2.compress(
                lines(
                    "{u};SKU{i};{d:02}.11.2023 20:36",
                    "Customer ID;SKU;Order Date",
                    "\r\n",
                    "utf-16",
                )
            ),
            "catalogue.json": json.dumps(
                {
                    f"SKU{item}": {"name": title, "price": 3.5}
                    for item, title in enumerate(TITLES, start=1)
                }
            ).encode(),
        },
        rated=False,
    ),
    PublicLayout(
        "lists in JSON",
        {
            "interactions.jsonl": json_lines(
                [{"user_id": user, "items": [1, 2, 3, 4]} for user in range(1, USERS + 1)]
            ),
            "items.json": json.dumps(titles("item_id", "title")).encode(),
        },
        timed=False,
        rated=False,
    ),
    PublicLayout(
        "Foursquare, as on Kaggle",
        {
            "dataset_TSMC2014_NYC.csv": lines(
                "{u},4b{i},Cafe {i},40.7{i}101,-240,Tue Apr {d:02} 18:00:09 +0000 2012",
                "userId,venueId,venueCategory,latitude,timezoneOffset,utcTimestamp",
            )
        },
        text="Cafe 1",
        rated=False,
    ),
    PublicLayout(
        "Goodreads",
        {
            "goodreads_interactions_poetry.json.gz": gzip.compress(
                json_lines(
                    [
                        {
                            "user_id": f"u{user}",
                            "book_id": str(item),
                            "is_read": True,
                            "rating": rating,
                            "date_added": f"Sun Apr {rating:02} 10:09:15 -0700 2016",
                            "read_at": "",
                        }
                        for user, item, rating, _ in events()
                    ]
                )
            ),
            "goodreads_books_poetry.json.gz": gzip.compress(
                json_lines(titles("book_id", "title", is_ebook="false", authors=[{"role": ""}]))
            ),
        },
    ),
    PublicLayout(
        "RateBeer",
        {
            "ratebeer.json.gz": _python(
                [
                    {
                        "beer/name": TITLES[item - 1],
                        "beer/beerId": str(item),
                        "review/overall": f"{rating}/20",
                        "review/time": str(time),
                        "review/profileName": f"u{user}",
                        "review/text": f"so {user}",
                    }
                    for user, item, rating, time in events()
                ]
            )
        },
        text="Löwe",
    ),
    PublicLayout(
        "Online Retail",
        {
            "online_retail_II.csv": lines(
                "4894{i},8504{i},TIN {i},12,12/{d}/2009 7:45,6.95,1308{u}.0,United Kingdom",
                "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
            )
        },
        text="TIN 1",
        rated=False,
    ),
    PublicLayout(
        "Globo",
        {
            "clicks/clicks_hour_000.csv": lines(
                "{u},15064{u},{i},{t}026,4",
                "user_id,session_id,click_article_id,click_timestamp,os",
            ),
            "articles_metadata.csv": items("{i},0,168", "article_id,category_id,words_count"),
        },
        text="1",
        rated=False,
    ),
    PublicLayout(
        "Book-Crossing, with its backslashes",
        {
            "Ratings.csv": lines('"{u}";"{i}";"{r}"', '"User-ID";"ISBN";"Book-Rating"'),
            "Books.csv": items(
                '"{i}";"{n} \\"the &amp; best\\"; more";"NULL"', '"ISBN";"Book-Title";"Book-Author"'
            ),
        },
        text='Löwe "the & best"; more',
        timed=False,
    ),
    PublicLayout(
        "Epinions",
        {
            "ratings_data.txt": lines("{u} {i} {r}"),
            "trust_data.txt": b" 22605 42915 1\n 22605 5052 1\n",
        },
        hint=("--interactions", "ratings_data.txt", "--columns", "user,item,rating"),
        text="1",
        timed=False,
    ),
    PublicLayout(
        "Last.fm 1K",
        {
            "plays.tsv": lines("user_{u}\t2009-05-{d:02}T23:08:57Z\ta{i}\tDeep {i}\t\tLove {i}"),
            "userid-profile.tsv": b"#id\tgender\tage\nuser_1\tm\t\nuser_2\tf\t\n",
        },
        hint=(
            "--interactions",
            "plays.tsv",
            "--columns",
            "user,time,item,column_4,column_5,column_6",
        ),
        text="Deep 1 Love 1",
        rated=False,
    ),
    PublicLayout(
        "Food.com",
        {
            "RAW_interactions.csv": lines(
                '{u},{i},2003-02-{d:02},{r},"Great, ""yum"""',
                "user_id,recipe_id,date,rating,review",
            ),
            "RAW_recipes.csv": items(
                "{n},{i},55,2005-09-16,\"['quick', 'fish']\",\"[51.5, 0.0]\"",
                "name,id,minutes,submitted,tags,nutrition",
            ),
        },
        text="Löwe quick fish",
    ),
    PublicLayout(
        "Douban",
        {
            "ratings.csv": lines("a{u},{i},{r},{t}", "USER_MD5,MOVIE_ID,RATING,RATING_TIME"),
            "movies.csv": items("{i},{n}", "MOVIE_ID,NAME"),
        },
    ),
)
