"""Everything that trains, measures or ships a network.

Importing the package prepares numpy and the environment for mxnet and nothing else, so that a worker process that only
decodes images need not load mxnet.
"""

from config.compat import prepare_mxnet

prepare_mxnet()
