/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CASE: a mount as one investigative action in JSON-LD, after CASE 1.4 and UCO 1.4
 * (https://caseontology.org, https://unifiedcyberontology.org): who performed it with which tool, on which
 * evidence files, and what came of it, the log with its last checkpoint.  Which term stands for what:
 * docs/formats/audit-export.md.
 *
 * Every node has an IRI that ends in a UUID, as UCO asks; it is derived from the session's UUID and the
 * node's part in it (RFC 9562, version 5), so that a second export names the same things.  The document is
 * kept in memory until its end; how many nodes it may have is bounded.  One thread.
 */
#include "audit/export_form.h"

#include "audit/export_case_nodes.h"
#include "base/bytes.h"
#include "base/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 200000

struct case_document {
    json_t *graph;
    json_t *cases; /* case id → node of the investigation */
    json_t *seen;  /* session → node of its action */
    bool failed;

    /* the session at hand; borrowed from the graph */
    json_t *log, *action, *tool, *configuration, *provenance, *investigation, *machine;
    json_t *files; /* identity → node of an evidence file; owned */
    size_t settings;
    bool closed, opened;

    size_t n_parts, left_out;
};

/* ---- nodes ---- */

/* A node of its own, in the graph; NULL when the document is full or memory is short. */
static json_t *add_node(struct audit_export *x, const char *type, const char *role, size_t number)
{
    struct case_document *d = x->document;
    json_t *node;

    if (json_array_size(d->graph) + d->n_parts >= MAX_NODES) {
        d->left_out++;
        return NULL;
    }
    node = case_node(x->known->session, type, role, number);
    if (!node || json_array_append_new(d->graph, node))
        d->failed = true;
    return node;
}

/* A node that is written where it is used: a facet, a setting. */
static json_t *add_part(struct audit_export *x, json_t *owner, const char *property,
                        const char *type, const char *role, size_t number)
{
    struct case_document *d = x->document;
    json_t *part;

    if (!owner || json_array_size(d->graph) + d->n_parts >= MAX_NODES) {
        d->left_out += owner != NULL;
        return NULL;
    }
    d->n_parts++;
    part = case_node(x->known->session, type, role, number);
    if (!part)
        d->failed = true;
    else
        case_append(owner, property, part);
    return part;
}

static bool find(const struct audit_record *r, enum audit_tag tag, struct audit_piece *out)
{
    return audit_record_find(r, tag, out) && out->len > 0;
}

static void put_field(json_t *node, const char *property, const struct audit_record *r,
                      enum audit_tag tag)
{
    struct audit_piece p;

    if (node && find(r, tag, &p))
        case_put_text(node, property, p.bytes, p.len);
}

/* ---- who and with what ---- */

static void add_setting(struct audit_export *x, const char *type, const void *name, size_t name_len,
                        const void *value, size_t value_len)
{
    struct case_document *d = x->document;
    json_t *entry = add_part(x, d->configuration, "uco-configuration:configurationEntry",
                             "uco-configuration:ConfigurationEntry", "setting", d->settings++);

    if (!entry)
        return;
    case_put_text(entry, "uco-configuration:itemName", name, name_len);
    case_put_text(entry, "uco-configuration:itemType", type, strlen(type));
    case_put_text(entry, "uco-configuration:itemValue", value, value_len);
}

static void add_setting_of(struct audit_export *x, const struct audit_record *r, enum audit_tag tag)
{
    enum audit_tag_kind kind;
    const char *name = audit_tag_name(tag, &kind);
    struct audit_piece p;

    if (name && find(r, tag, &p))
        add_setting(x, "environment", name, strlen(name), p.bytes, p.len);
}

/* The examiner, or, when none was given, the account that mounted. */
static void add_performer(struct audit_export *x, const struct audit_record *r)
{
    json_t *person, *other, *link;
    struct audit_piece p;
    char uid[16];

    if (find(r, AUDIT_T_EXAMINER, &p)) {
        person = add_node(x, "uco-identity:Person", "examiner", 0);
        case_put_text(person, "uco-core:name", p.bytes, p.len);
    } else {
        person = add_node(x, "uco-observable:UserAccount", "account", 0);
        other = add_part(x, person, "uco-core:hasFacet", "uco-observable:AccountFacet",
                         "account-facet", 0);
        if (other && audit_record_find(r, AUDIT_T_UID, &p) && p.len == 4) {
            (void)snprintf(uid, sizeof(uid), "%" PRIu32, vd_le32(p.bytes));
            case_put_text(other, "uco-observable:accountIdentifier", uid, strlen(uid));
        }
    }
    case_refer(x->document->action, "uco-action:performer", person);
    if (find(r, AUDIT_T_ORGANISATION, &p)) {
        other = add_node(x, "uco-identity:Organization", "organisation", 0);
        case_put_text(other, "uco-core:name", p.bytes, p.len);
        link = add_node(x, "uco-core:Relationship", "for-organisation", 0);
        case_refer(link, "uco-core:source", person);
        case_refer(link, "uco-core:target", other);
        case_put_text(link, "uco-core:kindOfRelationship", "Acted_On_Behalf_Of", 18);
        case_put_bool(link, "uco-core:isDirectional", true);
    }
    if (find(r, AUDIT_T_WITNESS, &p)) {
        other = add_node(x, "uco-identity:Person", "witness", 0);
        case_put_text(other, "uco-core:name", p.bytes, p.len);
        case_put_text(other, "uco-core:description", "witness", 7);
        case_refer(x->document->action, "uco-action:participant", other);
    }
    if (find(r, AUDIT_T_LOCATION, &p)) {
        other = add_node(x, "uco-location:Location", "location", 0);
        case_put_text(other, "uco-core:name", p.bytes, p.len);
        case_refer(x->document->action, "uco-action:location", other);
    }
}

static void add_tool(struct audit_export *x, const struct audit_record *r)
{
    static const enum audit_tag settings[] = {AUDIT_T_LIBRARIES, AUDIT_T_KERNEL,
                                              AUDIT_T_TIMEZONE,  AUDIT_T_COMMAND_LINE,
                                              AUDIT_T_SANDBOX,   AUDIT_T_MODE};
    struct case_document *d = x->document;
    json_t *program = add_node(x, "uco-tool:Tool", "program", 0), *facet;
    size_t i;

    d->tool = add_node(x, "uco-tool:ConfiguredTool", "tool", 0);
    d->configuration = add_node(x, "uco-configuration:Configuration", "configuration", 0);
    case_put_text(program, "uco-core:name", "vdiskfs", 7);
    case_put_text(program, "uco-tool:toolType", "read-only forensic file system", 30);
    put_field(program, "uco-tool:version", r, AUDIT_T_VERSION);
    case_put_text(d->tool, "uco-core:name", "vdiskfs", 7);
    put_field(d->tool, "uco-tool:version", r, AUDIT_T_VERSION);
    case_refer(d->tool, "uco-configuration:isConfigurationOf", program);
    case_refer(d->tool, "uco-configuration:usesConfiguration", d->configuration);
    case_refer(d->action, "uco-action:instrument", d->tool);
    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        add_setting_of(x, r, settings[i]);

    d->machine = add_node(x, "uco-observable:Computer", "machine", 0);
    put_field(d->machine, "uco-core:name", r, AUDIT_T_HOST);
    facet = add_part(x, d->machine, "uco-core:hasFacet",
                     "uco-observable:ComputerSpecificationFacet", "machine-facet", 0);
    put_field(facet, "uco-observable:hostname", r, AUDIT_T_HOST);
    put_field(d->machine, "uco-core:description", r, AUDIT_T_MACHINE_ID);
    case_refer(d->action, "uco-action:environment", d->machine);
}

/* The investigation of a case id is shared by all sessions of the document. */
static void add_investigation(struct audit_export *x, const struct audit_record *r)
{
    struct case_document *d = x->document;
    struct audit_piece id, p;
    struct vd_str key = VD_STR_INIT;
    json_t *order;

    if (!find(r, AUDIT_T_CASE_ID, &id))
        return;
    (void)show_add_value(&key, SHOW_TEXT, id.bytes, id.len, SIZE_MAX);
    if (key.failed) {
        d->failed = true;
        return;
    }
    d->investigation = json_object_get(d->cases, key.p);
    if (!d->investigation) {
        d->investigation = add_node(x, "case-investigation:Investigation", "investigation", 0);
        case_put_text(d->investigation, "uco-core:name", id.bytes, id.len);
        case_put_text(d->investigation, "case-investigation:investigationForm", "case", 4);
        if (d->investigation && json_object_set(d->cases, key.p, d->investigation))
            d->failed = true;
    }
    vd_str_clear(&key);
    case_refer(d->investigation, "uco-core:object", d->action);
    case_refer(d->investigation, "uco-core:object", d->provenance);
    if (d->investigation && find(r, AUDIT_T_AUTHORITY, &p)) {
        order = add_node(x, "case-investigation:Authorization", "authority", 0);
        case_put_text(order, "case-investigation:authorizationIdentifier", p.bytes, p.len);
        case_refer(d->investigation, "case-investigation:relevantAuthorization", order);
    }
}

/* PREVIOUS begins with the UUID of the session before. */
static void add_previous(struct audit_export *x, const struct audit_record *r)
{
    struct audit_piece p;
    char session[37];

    if (!find(r, AUDIT_T_PREVIOUS, &p) || p.len < 36)
        return;
    memcpy(session, p.bytes, 36);
    session[36] = '\0';
    if (memchr(session, '\0', 36))
        return;
    case_refer(x->document->action, "case-investigation:wasInformedBy",
               json_object_get(x->document->seen, session));
}

static void put_changes(struct audit_export *x, const struct audit_record *r)
{
    struct vd_str text = VD_STR_INIT;
    struct audit_piece p;

    if (!find(r, AUDIT_T_CHANGES, &p))
        return;
    vd_str_add(&text, "changes to the evidence before the mount: ");
    vd_str_add_bytes(&text, p.bytes, p.len);
    if (!text.failed)
        case_put_text(x->document->provenance, "uco-core:description", text.p, text.len);
    vd_str_clear(&text);
}

static void take_open(struct audit_export *x, const struct audit_record *r)
{
    struct case_document *d = x->document;

    if (d->opened)
        return;
    d->opened = true;
    case_put_time(d->action, "uco-action:startTime", r->real_ns);
    put_field(d->action, "uco-core:description", r, AUDIT_T_PURPOSE);
    put_field(d->provenance, "case-investigation:exhibitNumber", r, AUDIT_T_EVIDENCE_ID);
    put_changes(x, r);
    add_performer(x, r);
    add_tool(x, r);
    add_investigation(x, r);
    add_previous(x, r);
}

/* ---- evidence ---- */

/* Name, device and inode number: what EVIDENCE and EVIDENCE_HASH have in common. */
static bool identity(const struct audit_record *r, char out[2 * VD_SHA256_SIZE + 1])
{
    static const enum audit_tag tags[] = {AUDIT_T_NAME, AUDIT_T_DEV, AUDIT_T_INO};
    struct vd_sha256 *sha = vd_sha256_new();
    uint8_t hash[VD_SHA256_SIZE], size[8];
    struct audit_piece p;
    size_t i;

    if (!sha)
        return false;
    for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        p.len = 0;
        (void)audit_record_find(r, tags[i], &p);
        vd_put_le64(size, p.len);
        vd_sha256_add(sha, size, sizeof(size));
        if (p.len)
            vd_sha256_add(sha, p.bytes, p.len);
    }
    vd_sha256_end(sha, hash);
    vd_sha256_free(sha);
    vd_sha256_hex(hash, out);
    return true;
}

static void put_moment(json_t *node, const char *property, const struct audit_record *r,
                       enum audit_tag tag)
{
    struct audit_piece p;

    if (node && audit_record_find(r, tag, &p) && p.len == 8)
        case_put_time(node, property, (int64_t)vd_le64(p.bytes));
}

static void put_path(json_t *facet, const struct audit_record *r)
{
    struct vd_str path = VD_STR_INIT;
    struct audit_piece dir, name;

    if (facet && find(r, AUDIT_T_KEY, &dir) && find(r, AUDIT_T_NAME, &name)) {
        vd_str_add_bytes(&path, dir.bytes, dir.len);
        vd_str_add(&path, "/");
        vd_str_add_bytes(&path, name.bytes, name.len);
        if (!path.failed)
            case_put_text(facet, "uco-observable:filePath", path.p, path.len);
    }
    vd_str_clear(&path);
}

static json_t *take_file(struct audit_export *x, const struct audit_record *r)
{
    struct case_document *d = x->document;
    char key[2 * VD_SHA256_SIZE + 1];
    size_t n = json_object_size(d->files);
    json_t *file, *facet;

    if (!identity(r, key)) {
        d->failed = true;
        return NULL;
    }
    file = json_object_get(d->files, key);
    if (file)
        return file;
    file = add_node(x, "uco-observable:File", "evidence", n);
    if (!file)
        return NULL;
    put_field(file, "uco-core:name", r, AUDIT_T_NAME);
    facet = add_part(x, file, "uco-core:hasFacet", "uco-observable:FileFacet", "evidence-file", n);
    put_field(facet, "uco-observable:fileName", r, AUDIT_T_NAME);
    put_path(facet, r);
    case_put_integer(facet, "uco-observable:sizeInBytes", r->len);
    put_moment(facet, "uco-observable:modifiedTime", r, AUDIT_T_MTIME);
    put_moment(facet, "uco-observable:metadataChangeTime", r, AUDIT_T_CTIME);
    case_refer(d->action, "uco-action:object", file);
    case_refer(d->provenance, "uco-core:object", file);
    if (json_object_set(d->files, key, file))
        d->failed = true;
    return file;
}

static void take_hash(struct audit_export *x, const struct audit_record *r)
{
    struct case_document *d = x->document;
    json_t *file, *facet, *hash;
    struct audit_piece p;
    char hex[2 * VD_SHA256_SIZE + 1];

    if (r->result || !audit_record_find(r, AUDIT_T_SHA256, &p) || p.len != VD_SHA256_SIZE)
        return;
    file = take_file(x, r);
    facet = add_part(x, file, "uco-core:hasFacet", "uco-observable:ContentDataFacet",
                     "evidence-content", (size_t)r->seq);
    hash = add_part(x, facet, "uco-observable:hash", "uco-types:Hash", "evidence-hash",
                    (size_t)r->seq);
    vd_sha256_hex(p.bytes, hex);
    case_put_integer(facet, "uco-observable:sizeInBytes", r->off);
    case_put_text(hash, "uco-types:hashMethod", "SHA256", 6);
    case_put_typed(hash, "uco-types:hashValue", "xsd:hexBinary", hex);
    d->failed = d->failed || (facet && !hash);
}

static void take_close(struct audit_export *x, const struct audit_record *r)
{
    struct case_document *d = x->document;

    d->closed = true;
    case_put_time(d->action, "uco-action:endTime", r->real_ns);
    case_put_text(d->action, "uco-action:actionStatus", r->result == 0 ? "Success" : "Error",
                  r->result == 0 ? 7 : 5);
}

static void take_setting(struct audit_export *x, const struct audit_record *r, const char *type)
{
    const char *equals;
    struct audit_piece p;
    size_t n;

    if (!find(r, AUDIT_T_TEXT, &p))
        return;
    equals = memchr(p.bytes, '=', p.len);
    n = equals && r->op == AUDIT_OPTION ? (size_t)(equals - (const char *)p.bytes) : 0;
    if (n)
        add_setting(x, type, p.bytes, n, p.bytes + n + 1, p.len - n - 1);
    else
        add_setting(x, type, type, strlen(type), p.bytes, p.len);
}

static int record(struct audit_export *x, const struct show_item *item, struct vd_err *err)
{
    const struct audit_record *r = &item->r;
    json_t *file;

    switch (r->op) {
    case AUDIT_SESSION_OPEN:
        take_open(x, r);
        break;
    case AUDIT_OPTION:
        take_setting(x, r, "option");
        break;
    case AUDIT_POLICY:
        take_setting(x, r, "policy");
        break;
    case AUDIT_MOUNTED:
        take_setting(x, r, "mount options");
        break;
    case AUDIT_EVIDENCE:
        (void)take_file(x, r);
        break;
    case AUDIT_EVIDENCE_CHANGED:
        file = take_file(x, r);
        case_put_bool(file, "uco-observable:hasChanged", true);
        break;
    case AUDIT_EVIDENCE_HASH:
        take_hash(x, r);
        break;
    case AUDIT_SESSION_CLOSE:
        take_close(x, r);
        break;
    default:
        break;
    }
    return x->document->failed ? vd_fail(err, VD_ENOMEM, "out of memory") : 0;
}

/* ---- sessions and the document ---- */

static int begin(struct audit_export *x, struct vd_err *err)
{
    struct case_document *d = x->document;
    json_t *facet;

    json_decref(d->files);
    d->files = json_object();
    d->closed = d->opened = false;
    d->settings = 0;
    d->investigation = d->tool = d->configuration = d->machine = NULL;
    d->failed = d->failed || !d->files;
    d->log = add_node(x, "uco-observable:File", "log", 0);
    d->action = add_node(x, "case-investigation:InvestigativeAction", "action", 0);
    d->provenance = add_node(x, "case-investigation:ProvenanceRecord", "provenance", 0);
    if (d->failed || !d->log || !d->action || !d->provenance)
        return d->failed ? vd_fail(err, VD_ENOMEM, "out of memory")
                         : vd_fail(err, VD_EUSAGE, "too many sessions for one document");
    case_put_text(d->action, "uco-core:name", "read-only mount of a virtual disk", 33);
    case_put_text(d->log, "uco-core:name", "audit log", 9);
    facet = add_part(x, d->log, "uco-core:hasFacet", "uco-observable:FileFacet", "log-file", 0);
    case_put_bool(facet, "uco-observable:isDirectory", true);
    case_put_text(facet, "uco-observable:fileName", x->session, strlen(x->session));
    if (x->path)
        case_put_text(facet, "uco-observable:filePath", x->path, strlen(x->path));
    case_put_text(d->log, "uco-core:tag", x->verdict, strlen(x->verdict));
    case_refer(d->provenance, "uco-core:object", d->log);
    case_refer(d->action, "uco-action:result", d->provenance);
    case_refer(d->action, "uco-action:result", d->log);
    return json_object_set(d->seen, x->session, d->action)
               ? vd_fail(err, VD_ENOMEM, "out of memory")
               : 0;
}

/* What verifies the log, in words, and its last checkpoint as it stands in it. */
static void put_proof(struct audit_export *x, const char *note)
{
    const struct audit_report *r = x->known;
    struct case_document *d = x->document;
    char root[2 * VD_SHA256_SIZE + 1], text[1024];
    json_t *file, *facet;

    vd_sha256_hex(r->root, root);
    (void)snprintf(
        text, sizeof(text),
        "%s%s%s; %" PRIu64 " records in %" PRIu64 " frames, RFC 6962 tree head %s, first key %s",
        x->verdict, r->reason[0] ? ": " : "", r->reason, r->records, r->frames, root, r->first_key);
    case_put_text(d->log, "uco-core:description", text, strlen(text));
    if (!note || !note[0])
        return;
    file = add_node(x, "uco-observable:File", "checkpoint", 0);
    case_put_text(file, "uco-core:name", "last checkpoint of the log", 26);
    facet = add_part(x, file, "uco-core:hasFacet", "uco-observable:ContentDataFacet",
                     "checkpoint-content", 0);
    if (facet && case_put_exact(facet, "uco-observable:dataPayload", note, strlen(note)))
        case_put_text(facet, "uco-observable:mimeType", "text/plain", 10);
    case_refer(d->action, "uco-action:result", file);
    case_refer(d->provenance, "uco-core:object", file);
}

static int end(struct audit_export *x, const struct audit_report *second, const char *note,
               struct vd_err *err)
{
    struct case_document *d = x->document;
    const char *status = !x->known->live                          ? "Unknown"
                         : x->known->verdict == AUDIT_INTACT_OPEN ? "Ongoing"
                                                                  : "Unknown";
    char text[80];

    /* The note belongs to what is told only when nothing was added meanwhile. */
    put_proof(x, second->frames == x->known->frames ? note : NULL);
    if (!d->closed)
        case_put_text(d->action, "uco-action:actionStatus", status, strlen(status));
    if (d->left_out) {
        (void)snprintf(text, sizeof(text), "%zu nodes are left out: the document is full",
                       d->left_out);
        case_put_text(d->action, "uco-core:description", text, strlen(text));
        d->left_out = 0;
    }
    return d->failed ? vd_fail(err, VD_ENOMEM, "out of memory") : 0;
}

static int open_case(struct audit_export *x, struct vd_err *err)
{
    struct case_document *d = calloc(1, sizeof(*d));

    x->document = d;
    if (!d)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    d->graph = json_array();
    d->cases = json_object();
    d->seen = json_object();
    return d->graph && d->cases && d->seen ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

static int finish(struct audit_export *x, struct vd_err *err)
{
    char *text = case_document_text(x->document->graph);

    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    vd_str_add(&x->out, text);
    vd_str_add(&x->out, "\n");
    free(text);
    return 0;
}

static void free_case(struct audit_export *x)
{
    struct case_document *d = x->document;

    if (!d)
        return;
    json_decref(d->files);
    json_decref(d->cases);
    json_decref(d->seen);
    json_decref(d->graph);
    free(d);
}

const struct export_form export_case = {.open = open_case,
                                        .begin = begin,
                                        .record = record,
                                        .end = end,
                                        .finish = finish,
                                        .free = free_case};
