//! `croissant.json`: metadata in JSON-LD, as the specification of Croissant 1.1 (mlcommons.org/croissant/1.1) has it, with
//! the properties of its extension for responsible AI that hold for rows of commits.

use arrow_schema::DataType;
use serde_json::{Value, json};

use super::{
    card::{self, About},
    facts::{day, ranked},
    features,
};

/// The record set that says which splits there are.
const SPLITS: &str = "splits";

/// The file that `about` gives.
pub fn croissant(about: &About<'_>) -> Value {
    let configs = card::configs(about);
    let names: Vec<(&str, String)> =
        configs.iter().map(|(name, config)| (name.as_str(), card::pattern(about, config.as_deref(), "*"))).collect();
    let mut record_sets = vec![splits(about)];
    record_sets.extend(names.iter().map(|(name, _)| record_set(name, about.options.columns)));
    let mut document = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": card::TITLE,
        "description": card::summary(about),
        // A version has to look like one; what tells data sets apart is the digest.
        "version": format!("1.0.0+{}", card::digest(about.shards)),
        "keywords": ["code", "commits", "git", "instruction tuning"],
        "license": ranked(&about.facts.licenses).iter().take(card::LICENSES_MAX).map(|(name, _)| *name).collect::<Vec<_>>(),
        "citeAs": card::citation(about),
        "isLiveDataset": false,
        "distribution": names.iter().map(|(name, pattern)| json!({
            "@type": "cr:FileSet", "@id": files(name), "name": files(name), "encodingFormat": "application/x-parquet",
            "includes": format!("{pattern}.parquet"),
        })).collect::<Vec<_>>(),
        "recordSet": record_sets,
        "rai:dataCollection": "The history of Git repositories was walked by a program; each change of a file that the rules \
                               keep became a row. manifest.json names every repository with the commits it was read up to.",
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataCollectionMissingData": card::MISSING,
        "rai:dataPreprocessingProtocol": [
            "Texts in other encodings are given as UTF-8; nothing else of contents and diffs is changed.",
            format!("Ruleset of the export: {}, digest {}.", about.filter.0, about.filter.1),
        ],
        "rai:machineAnnotationTools": [format!(
            "gitlode {}: languages, licences, languages of messages and kinds of authors, by tables and rules", env!("CARGO_PKG_VERSION")
        )],
        "rai:dataUseCases": ["Training and evaluation of models that write or describe changes of code."],
        "rai:dataLimitations": card::LIMITS,
        "rai:dataBiases": ["Languages, licences and years are as the chosen repositories have them; README.md counts them."],
        "rai:personalSensitiveInformation": [card::PERSONAL],
        "rai:dataReleaseMaintenancePlan": card::OPT_OUT,
    });
    if let Some((from, to)) = about.facts.times.map(|(from, to)| (day(from), day(to))) {
        document["rai:dataCollectionTimeFrame"] = json!([from, to]);
    }
    document
}

fn files(config: &str) -> String {
    format!("files-{config}")
}

fn record_set(config: &str, columns: &[&str]) -> Value {
    let source = |extract: Value| json!({"fileSet": {"@id": files(config)}, "extract": extract});
    let mut fields: Vec<Value> = columns
        .iter()
        .map(|column| {
            let kind = features::field(column).data_type().clone();
            let mut field = json!({
                "@type": "cr:Field", "@id": format!("{config}/{column}"), "name": column,
                "description": card::meaning(column), "dataType": data_type(&kind),
                "source": source(json!({"column": column})),
            });
            if matches!(kind, DataType::List(_)) {
                field["isArray"] = json!(true);
                field["arrayShape"] = json!("-1");
            }
            field
        })
        .collect();
    let mut split = source(json!({"fileProperty": "fullpath"}));
    // Readers apply it once or twice, so it takes a path and its own outcome.
    split["transform"] = json!({"regex": "(?:.*/)?([a-z0-9_]+)(?:-[0-9]+-of-[0-9]+[.]parquet)?$"});
    fields.push(json!({
        "@type": "cr:Field", "@id": format!("{config}/split"), "name": "split", "description": "the split, by the file's name",
        "dataType": "sc:Text", "references": {"field": {"@id": format!("{SPLITS}/name")}}, "source": split,
    }));
    json!({"@type": "cr:RecordSet", "@id": config, "name": config, "field": fields})
}

fn splits(about: &About<'_>) -> Value {
    let name = format!("{SPLITS}/name");
    let rows: Vec<Value> = about.options.splits.iter().map(|split| json!({&name: split})).collect();
    json!({
        "@type": "cr:RecordSet", "@id": SPLITS, "name": SPLITS, "dataType": "cr:Split", "key": {"@id": &name},
        "field": [{"@type": "cr:Field", "@id": &name, "name": "name", "dataType": "sc:Text"}], "data": rows,
    })
}

fn data_type(kind: &DataType) -> &'static str {
    match kind {
        DataType::UInt32 => "cr:UInt32",
        DataType::Int32 => "cr:Int32",
        DataType::Int64 => "cr:Int64",
        DataType::Float64 => "cr:Float64",
        DataType::Boolean => "sc:Boolean",
        _ => "sc:Text",
    }
}

/// The context that the specification prescribes.
fn context() -> Value {
    let mut context = json!({
        "@language": "en", "@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "sc": "https://schema.org/",
        "conformsTo": "dct:conformsTo", "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "examples": {"@id": "cr:examples", "@type": "@json"},
        "description": {"@container": "@language"}, "name": {"@container": "@language"},
    });
    for term in [
        "arrayShape",
        "citeAs",
        "column",
        "containedIn",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isArray",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
        "source",
        "subField",
        "transform",
    ] {
        context[term] = json!(format!("cr:{term}"));
    }
    context
}
