"""The command `init`: from a person's data, model and machine to a commented profile.

`look` finds the facts, `choose` makes settings and estimates of them, `page` writes them down.
"""
