/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of a CASE document (export_case_nodes.h), JSON-LD 1.1 by jansson.  Pure; any thread. */
#include "audit/export_case_nodes.h"

#include "audit/show_put.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* UUID of version 5 (RFC 9562, section 5.5) in the name space of the session. */
static bool make_iri(const uint8_t session[16], const char *role, size_t number, char out[64])
{
    uint8_t bytes[16 + 64], hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t n = 16, i;

    memcpy(bytes, session, 16);
    n += (size_t)snprintf((char *)bytes + n, sizeof(bytes) - n, "%s/%zu", role, number);
    if (!EVP_Digest(bytes, n, hash, &len, EVP_sha1(), NULL) || len < 16)
        return false;
    hash[6] = (uint8_t)((hash[6] & 0x0f) | 0x50);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    n = (size_t)snprintf(out, 64, "urn:uuid:");
    for (i = 0; i < 16; i++)
        n += (size_t)snprintf(out + n, 64 - n,
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", hash[i]);
    return true;
}

json_t *case_node(const uint8_t session[16], const char *type, const char *role, size_t number)
{
    char iri[64];

    return make_iri(session, role, number, iri) ? json_pack("{s:s, s:s}", "@id", iri, "@type", type)
                                                : NULL;
}

void case_append(json_t *node, const char *property, json_t *value)
{
    json_t *there = json_object_get(node, property), *list;

    if (!node || !value) {
        json_decref(value);
        return;
    }
    if (!there) {
        (void)json_object_set_new(node, property, value);
        return;
    }
    if (!json_is_array(there)) {
        list = json_array();
        (void)json_array_append(list, there);
        (void)json_object_set_new(node, property, list);
        there = json_object_get(node, property);
    }
    (void)json_array_append_new(there, value);
}

void case_put_text(json_t *node, const char *property, const void *text, size_t len)
{
    struct vd_str s = VD_STR_INIT;

    if (!node)
        return;
    (void)show_add_value(&s, SHOW_CSV, text, len, SIZE_MAX);
    if (!s.failed) {
        size_t i, n = 0;

        for (i = 0; i < s.len; i++) { /* of CSV only its doubled quotes are undone */
            s.p[n++] = s.p[i];
            i += s.p[i] == '"';
        }
        case_append(node, property, json_stringn(s.p ? s.p : "", n));
    }
    vd_str_clear(&s);
}

bool case_put_exact(json_t *node, const char *property, const char *text, size_t len)
{
    json_t *value = node ? json_stringn(text, len) : NULL;

    if (node && !value)
        case_put_text(node, property, text, len);
    case_append(node, property, value);
    return value != NULL;
}

void case_put_typed(json_t *node, const char *property, const char *type, const char *text)
{
    case_append(node, property,
                node ? json_pack("{s:s, s:s}", "@type", type, "@value", text) : NULL);
}

void case_put_time(json_t *node, const char *property, int64_t ns)
{
    char text[SHOW_TIME];

    (void)show_time_text(ns, 9, "Z", text);
    case_put_typed(node, property, "xsd:dateTime", text);
}

void case_put_integer(json_t *node, const char *property, uint64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, v);
    case_put_typed(node, property, "xsd:integer", text);
}

void case_put_bool(json_t *node, const char *property, bool v)
{
    if (node && !json_object_get(node, property))
        case_append(node, property, json_boolean(v));
}

void case_refer(json_t *node, const char *property, const json_t *to)
{
    const char *id = json_string_value(json_object_get(to, "@id"));

    if (node && id)
        case_append(node, property, json_pack("{s:s}", "@id", id));
}

char *case_document_text(json_t *graph)
{
    static const char *const prefixes[][2] = {
        {"case-investigation", "https://ontology.caseontology.org/case/investigation/"},
        {"uco-action", "https://ontology.unifiedcyberontology.org/uco/action/"},
        {"uco-configuration", "https://ontology.unifiedcyberontology.org/uco/configuration/"},
        {"uco-core", "https://ontology.unifiedcyberontology.org/uco/core/"},
        {"uco-identity", "https://ontology.unifiedcyberontology.org/uco/identity/"},
        {"uco-location", "https://ontology.unifiedcyberontology.org/uco/location/"},
        {"uco-observable", "https://ontology.unifiedcyberontology.org/uco/observable/"},
        {"uco-tool", "https://ontology.unifiedcyberontology.org/uco/tool/"},
        {"uco-types", "https://ontology.unifiedcyberontology.org/uco/types/"},
        {"xsd", "http://www.w3.org/2001/XMLSchema#"}};
    json_t *context = json_object(), *document;
    char *text;
    size_t i;

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        (void)json_object_set_new(context, prefixes[i][0], json_string(prefixes[i][1]));
    document = json_pack("{s:o, s:O}", "@context", context, "@graph", graph);
    text = document ? json_dumps(document, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER)
                    : NULL;
    json_decref(document);
    return text;
}
