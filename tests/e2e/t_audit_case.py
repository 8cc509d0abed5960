#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vdiskctl audit export --format=case` through an RDF parser: the triples are terms of CASE 1.4 and UCO 1.4,
used as their shapes ask (class of the subject, type of the value, how often), every node has an IRI that ends in
a UUID, nothing dangles; and what they tell is what the log tells."""
import importlib.util
import json
import os
import re
import sys

if not importlib.util.find_spec("rdflib"):  # Debian's package is for Debian's python
    if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("SKIPPED: python3-rdflib is not installed")
    sys.exit(77)

import rdflib
from harness import VDISKCTL, VDISKFS, Case, need_fuse, need_tools, qemu_chain, run

rdflib.NORMALIZE_LITERALS = False  # nanoseconds stay
need_tools("qemu-img", "qemu-io")
need_fuse()

# classes that are used, with those classes above them that a property below speaks of
CLASSES = {
    "case-investigation:Authorization": "uco-core:UcoObject",
    "case-investigation:Investigation": "uco-core:ContextualCompilation uco-core:UcoObject",
    "case-investigation:InvestigativeAction": "uco-action:Action uco-core:UcoObject",
    "case-investigation:ProvenanceRecord": "uco-core:ContextualCompilation uco-core:UcoObject",
    "uco-configuration:Configuration": "uco-core:UcoObject",
    "uco-configuration:ConfigurationEntry": "",
    "uco-core:Relationship": "uco-core:UcoObject",
    "uco-identity:Organization": "uco-core:UcoObject",
    "uco-identity:Person": "uco-core:UcoObject",
    "uco-location:Location": "uco-core:UcoObject",
    "uco-observable:AccountFacet": "uco-core:Facet",
    "uco-observable:Computer": "uco-core:UcoObject uco-observable:ObservableObject",
    "uco-observable:ComputerSpecificationFacet": "uco-core:Facet",
    "uco-observable:ContentDataFacet": "uco-core:Facet",
    "uco-observable:File": "uco-core:UcoObject uco-observable:ObservableObject",
    "uco-observable:FileFacet": "uco-core:Facet",
    "uco-observable:UserAccount": "uco-core:UcoObject uco-observable:ObservableObject",
    "uco-tool:ConfiguredTool": "uco-core:UcoObject uco-tool:Tool",
    "uco-tool:Tool": "uco-core:UcoObject",
    "uco-types:Hash": "",
}
# property: (classes that may have it, what its values are, at least, at most)
PROPERTIES = {
    "case-investigation:authorizationIdentifier": ("case-investigation:Authorization", "xsd:string", 0, None),
    "case-investigation:exhibitNumber": ("case-investigation:ProvenanceRecord", "xsd:string", 0, 1),
    "case-investigation:investigationForm": ("case-investigation:Investigation", "xsd:string", 0, 1),
    "case-investigation:relevantAuthorization": ("case-investigation:Investigation", "case-investigation:Authorization", 0, None),
    "case-investigation:wasInformedBy": ("case-investigation:InvestigativeAction", "case-investigation:InvestigativeAction", 0, None),
    "uco-action:actionStatus": ("uco-action:Action", "xsd:string", 0, 1),
    "uco-action:endTime": ("uco-action:Action", "xsd:dateTime", 0, 1),
    "uco-action:environment": ("uco-action:Action", "uco-core:UcoObject", 0, 1),
    "uco-action:instrument": ("uco-action:Action", "uco-core:UcoObject", 0, None),
    "uco-action:location": ("uco-action:Action", "uco-location:Location", 0, None),
    "uco-action:object": ("uco-action:Action", "uco-core:UcoObject", 0, None),
    "uco-action:participant": ("uco-action:Action", "uco-core:UcoObject", 0, None),
    "uco-action:performer": ("uco-action:Action", "uco-core:UcoObject", 0, 1),
    "uco-action:result": ("uco-action:Action", "uco-core:UcoObject", 0, None),
    "uco-action:startTime": ("uco-action:Action", "xsd:dateTime", 0, 1),
    "uco-configuration:configurationEntry": ("uco-configuration:Configuration", "uco-configuration:ConfigurationEntry", 0, None),
    "uco-configuration:isConfigurationOf": ("uco-tool:ConfiguredTool", "uco-tool:Tool", 0, 1),
    "uco-configuration:itemName": ("uco-configuration:ConfigurationEntry", "xsd:string", 0, 1),
    "uco-configuration:itemType": ("uco-configuration:ConfigurationEntry", "xsd:string", 0, 1),
    "uco-configuration:itemValue": ("uco-configuration:ConfigurationEntry", "xsd:string", 0, None),
    "uco-configuration:usesConfiguration": ("uco-tool:ConfiguredTool", "uco-configuration:Configuration", 0, 1),
    "uco-core:description": ("uco-core:UcoObject", "xsd:string", 0, None),
    "uco-core:hasFacet": ("uco-core:UcoObject", "uco-core:Facet", 0, None),
    "uco-core:isDirectional": ("uco-core:Relationship", "xsd:boolean", 1, 1),
    "uco-core:kindOfRelationship": ("uco-core:Relationship", "xsd:string", 0, 1),
    "uco-core:name": ("uco-core:UcoObject", "xsd:string", 0, 1),
    "uco-core:object": ("uco-core:ContextualCompilation", "uco-core:UcoObject", 0, None),
    "uco-core:source": ("uco-core:Relationship", "uco-core:UcoObject", 1, None),
    "uco-core:tag": ("uco-core:UcoObject", "xsd:string", 0, None),
    "uco-core:target": ("uco-core:Relationship", "uco-core:UcoObject", 1, 1),
    "uco-observable:accountIdentifier": ("uco-observable:AccountFacet", "xsd:string", 0, 1),
    "uco-observable:dataPayload": ("uco-observable:ContentDataFacet", "xsd:string", 0, 1),
    "uco-observable:fileName": ("uco-observable:FileFacet", "xsd:string", 0, None),
    "uco-observable:filePath": ("uco-observable:FileFacet", "xsd:string", 0, None),
    "uco-observable:hasChanged": ("uco-observable:ObservableObject", "xsd:boolean", 0, 1),
    "uco-observable:hash": ("uco-observable:ContentDataFacet", "uco-types:Hash", 0, None),
    "uco-observable:hostname": ("uco-observable:ComputerSpecificationFacet", "xsd:string", 0, 1),
    "uco-observable:isDirectory": ("uco-observable:FileFacet", "xsd:boolean", 0, None),
    "uco-observable:metadataChangeTime": ("uco-observable:FileFacet", "xsd:dateTime", 0, 1),
    "uco-observable:mimeType": ("uco-observable:ContentDataFacet", "xsd:string", 0, None),
    "uco-observable:modifiedTime": ("uco-observable:AccountFacet uco-observable:FileFacet", "xsd:dateTime", 0, 1),
    "uco-observable:sizeInBytes": ("uco-observable:ContentDataFacet uco-observable:FileFacet", "xsd:integer", 0, 1),
    "uco-tool:toolType": ("uco-tool:Tool", "xsd:string", 0, 1),
    "uco-tool:version": ("uco-tool:Tool", "xsd:string", 0, 1),
    "uco-types:hashMethod": ("uco-types:Hash", "xsd:string", 1, 1),
    "uco-types:hashValue": ("uco-types:Hash", "xsd:hexBinary", 1, 1),
}
BASES = {"case-investigation": "https://ontology.caseontology.org/case/investigation/",
         "xsd": "http://www.w3.org/2001/XMLSchema#"}
STATUS = ("Complete/Finish", "Error", "Fail", "Ongoing", "Pending", "Success", "Unknown")
UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-5][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def full(term):
    prefix, name = term.split(":")
    base = BASES.get(prefix) or f"https://ontology.unifiedcyberontology.org/uco/{prefix.removeprefix('uco-')}/"
    return rdflib.URIRef(base + name)


def check(graph):
    """The rules of the ontologies' shapes, as far as the table above has them."""
    names = {full(term): term for term in (*CLASSES, *PROPERTIES)}
    types = {}
    for node, kind in graph.subject_objects(rdflib.RDF.type):
        assert kind in names and names[kind] in CLASSES, f"unknown class {kind}"
        assert node not in types, f"{node} has two classes"
        types[node] = {names[kind], *CLASSES[names[kind]].split()}
        if CLASSES[names[kind]] == "" or not {"uco-core:Facet"} & types[node]:
            types[node].add("uco-core:UcoObject" if "uco-core:UcoObject" in CLASSES[names[kind]] else names[kind])
    used = 0
    for node, prop, value in graph:
        assert isinstance(node, rdflib.URIRef) and UUID.match(str(node)), node
        if prop == rdflib.RDF.type:
            continue
        assert prop in names and names[prop] in PROPERTIES, f"unknown property {prop}"
        on, kind, _, _ = PROPERTIES[names[prop]]
        assert types[node] & set(on.split()), f"{names[prop]} on {types[node]}"
        if kind.startswith("xsd:"):
            assert isinstance(value, rdflib.Literal), (names[prop], value)
            assert (value.datatype or rdflib.XSD.string) == full(kind), (names[prop], value.datatype)
            assert value.ill_typed is not True if hasattr(value, "ill_typed") else True
        else:
            assert value in types, f"{names[prop]} leads nowhere: {value}"
            assert kind in types[value], f"{names[prop]} is a {types[value]}"
        used += 1
    for node, kinds in types.items():
        for term, (on, _, least, most) in PROPERTIES.items():
            if kinds & set(on.split()):
                n = len(list(graph.objects(node, full(term))))
                assert n >= least and (most is None or n <= most), (node, term, n)
    for status in graph.objects(None, full("uco-action:actionStatus")):
        assert str(status) in STATUS, status
    return len(types), used


def one(graph, subject, *path):
    for term in path:
        values = list(graph.objects(subject, full(term)))
        assert len(values) == 1, (subject, term, values)
        subject = values[0]
    return str(subject) if isinstance(subject, rdflib.Literal) else subject


def load(*words, code=0):
    result = run(VDISKCTL, "audit", "export", "--format=case", *words, check=False)
    assert result.returncode == code, result
    graph = rdflib.Graph()
    graph.parse(data=result.stdout.decode(), format="json-ld")
    return graph, result.stdout


def same_session(graph, session, examiner):
    """The action of a session, against the records of its log."""
    records = [json.loads(line) for line in run(VDISKCTL, "audit", "show", "--json", session).stdout.splitlines()]
    verify = json.loads(run(VDISKCTL, "audit", "verify", "--json", session).stdout)
    name = os.path.basename(session)
    facet = next(graph.subjects(full("uco-observable:fileName"), rdflib.Literal(name)))
    log = next(graph.subjects(full("uco-core:hasFacet"), facet))
    action = next(graph.subjects(full("uco-action:result"), log))
    text = one(graph, log, "uco-core:description")
    assert verify["tree_head"] in text and verify["first_key"] in text, text
    assert f"{verify['records']} records in {verify['frames']} frames" in text, text
    assert one(graph, log, "uco-core:tag") == verify["text"]
    literal = next(graph.objects(action, full("uco-action:startTime")))
    assert str(literal) == records[0]["time"], (literal, records[0])
    assert str(next(graph.objects(action, full("uco-action:endTime")))) == records[-1]["time"]
    assert one(graph, action, "uco-action:actionStatus") == "Success"
    performer = one(graph, action, "uco-action:performer")
    if examiner:
        assert one(graph, performer, "uco-core:name") == examiner
    else:
        assert one(graph, performer, "uco-core:hasFacet", "uco-observable:accountIdentifier") == str(os.getuid())
    assert one(graph, action, "uco-action:instrument", "uco-tool:version") == records[0]["version"]
    settings = {(str(graph.value(e, full("uco-configuration:itemName"))),
                 str(graph.value(e, full("uco-configuration:itemValue"))))
                for e in graph.objects(one(graph, action, "uco-action:instrument",
                                           "uco-configuration:usesConfiguration"),
                                       full("uco-configuration:configurationEntry"))}
    for record in records:
        if record["op"] == "OPTION":
            assert tuple(record["text"].split("=", 1)) in settings or ("option", record["text"]) in settings, record
    files = {}
    for file in graph.objects(action, full("uco-action:object")):
        facets = {str(graph.value(f, rdflib.RDF.type)).rsplit("/", 1)[1]: f
                  for f in graph.objects(file, full("uco-core:hasFacet"))}
        files[one(graph, facets["FileFacet"], "uco-observable:fileName")] = facets
    evidence = {r["name"]: r for r in records if r["op"] == "EVIDENCE"}
    assert set(files) == set(evidence), (files, evidence)
    for name, record in evidence.items():
        facet = files[name]["FileFacet"]
        assert one(graph, facet, "uco-observable:filePath") == f"{record['key']}/{name}"
        assert int(one(graph, facet, "uco-observable:sizeInBytes")) == record["len"]
        assert one(graph, facet, "uco-observable:modifiedTime") == record["mtime"]
    hashed = {r["name"]: r["sha256"] for r in records if r["op"] == "EVIDENCE_HASH" and "sha256" in r}
    for name, value in hashed.items():
        got = one(graph, files[name]["ContentDataFacet"], "uco-observable:hash", "uco-types:hashValue")
        assert got.lower() == value, (got, value)
    payloads = [str(p) for result in graph.objects(action, full("uco-action:result"))
                for f in graph.objects(result, full("uco-core:hasFacet"))
                for p in graph.objects(f, full("uco-observable:dataPayload"))]
    with open(os.path.join(session, "checkpoints"), encoding="utf-8") as file:
        assert len(payloads) == 1 and file.read().endswith(payloads[0]), payloads
    return action, len(evidence), len(hashed)


with Case("audit-case") as case:
    names = qemu_chain(case.evidence, 3, 4 << 20)
    given = ("case_id=K-17", "evidence_id=E7", "examiner=Ada L.", "purpose=look", "witness=W. W.", "organisation=Lab",
             "authority=order 12", "location=Room 5", "hash_inputs=sha256")
    known = run(VDISKFS, "--help").stdout.decode()
    given = [word for word in given if f"  {word.split('=')[0]}=" in known]
    with case.mounted(names[-1], *given) as mnt:
        os.listdir(mnt)
        running, _ = load(case.sessions()[-1])
        check(running)
        assert "Ongoing" in [str(s) for s in running.objects(None, full("uco-action:actionStatus"))]
    with case.mounted(names[0], "case_id=K-17") as mnt:
        os.listdir(mnt)
    sessions = sorted(case.sessions())
    graph, text = load(case.log)
    nodes, used = check(graph)
    first, files, hashes = same_session(graph, sessions[0], "Ada L.")
    second, _, _ = same_session(graph, sessions[1], None)
    assert one(graph, second, "case-investigation:wasInformedBy") == first
    assert text == load(case.log)[1], "a second export tells the same with the same names"
    investigations = list(graph.subjects(rdflib.RDF.type, full("case-investigation:Investigation")))
    assert len(investigations) == 1 and one(graph, investigations[0], "uco-core:name") == "K-17"
    assert set(graph.objects(investigations[0], full("uco-core:object"))) >= {first, second}
    exhibits = list(graph.objects(None, full("case-investigation:exhibitNumber")))
    assert [str(e) for e in exhibits] == ["E7"], exhibits
    print(f"{nodes} nodes, {used} properties, {len(graph)} triples: {files} evidence files, {hashes} of them with a hash")
