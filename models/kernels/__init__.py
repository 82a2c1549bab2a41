"""The arithmetic between symbols and frequencies as compiled loops (numba): the same integers as the torch forms, many times as fast.

Each file states its formulas once, in its docstring, and has kernels of a few dozen lines. Rules: a kernel calls no kernel of another
file (numba's cache watches one file each), releases the interpreter's lock, is compiled without fast math for the types in its signature,
starts no threads, and writes only into arrays that it is given.
"""
