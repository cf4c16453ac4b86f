"""Importers of other frameworks' models; each needs its framework only when it is used."""
