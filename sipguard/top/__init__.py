"""The live view of `sipguard top`: what is asked, what is made of it, and how it looks on a terminal."""
