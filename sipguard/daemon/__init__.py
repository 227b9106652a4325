"""Joins the stages in one event loop, and answers on the control socket."""
