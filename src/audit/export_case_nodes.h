/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of a CASE document; private to export_case.c.  Each function accepts a node that is NULL and does
 * nothing then: one that found no place is left out with all that hangs on it.  Memory that ran out
 * leaves a property out too; the nodes themselves are checked by the caller.
 */
#ifndef VD_AUDIT_EXPORT_CASE_NODES_H
#define VD_AUDIT_EXPORT_CASE_NODES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node with type, and an IRI made from the session, `role` and `number`.  NULL: no memory. */
json_t *case_node(const uint8_t session[16], const char *type, const char *role, size_t number);

/* Adds a value to a property: the first one stands alone, more make a list.  Takes `value` over. */
void case_append(json_t *node, const char *property, json_t *value);

/* Text of any bytes, escaped as in the other formats. */
void case_put_text(json_t *node, const char *property, const void *text, size_t len);
/* Text as it is, for what must stay exact; false: it is no UTF-8, and was put escaped. */
bool case_put_exact(json_t *node, const char *property, const char *text, size_t len);
void case_put_typed(json_t *node, const char *property, const char *type, const char *text);
void case_put_time(json_t *node, const char *property, int64_t ns);
void case_put_integer(json_t *node, const char *property, uint64_t v);
void case_put_bool(json_t *node, const char *property, bool v);
/* A reference to another node, which may be NULL. */
void case_refer(json_t *node, const char *property, const json_t *to);

/* The whole document: context and graph (borrowed).  The caller frees; NULL: no memory. */
char *case_document_text(json_t *graph);

#endif
