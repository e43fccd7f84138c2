"""The ranking rule, written once: evaluation, the gates of an export and serving call it.

====================== ===========================================================
``contract``           models, tensors and request options
``options``            checks the options of a request
``requests``           reads the tensors of a request; ``tensors``, ``profile``
``identifiers``        item ids
``catalogue``          the arrays of a model's items
``items``              finds the neighbours of new texts
``users``              histories, and the states that a network makes of them
``terms``              the terms of a logit
``scoring``            scores candidates; ``cold_items``, ``calibration``, ``top_k``
``policy``             what may be recommended, and in which order
``handler``            a batch of requests → their answers
====================== ===========================================================

It takes arrays and objects that encode users and texts. It opens no files.
"""
