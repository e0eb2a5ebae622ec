/* What concerns several keys of one sink, and several sinks: called by the reader. */
#pragma once

#include "policy/config_reader.h"

/* For the section logging, as config_section.check. Fills in what depends on the kind: format, transport, port. */
void config_sinks_check_one(struct config_reader *reader, const struct config_yaml_node *node, void *sink);

/* When all is read: clusters that must exist, files and directories that two sinks cannot share. */
void config_sinks_check_all(struct config_reader *reader, const struct config *config);
