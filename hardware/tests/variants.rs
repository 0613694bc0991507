//! The naming table, the chains of stand-ins and the choice of ggml's module, on recorded processors.

#![allow(clippy::unwrap_used, clippy::panic)] // a broken table or tree shall end the test at once

use std::collections::{BTreeMap, BTreeSet};
use tabagent_hardware::cpu::{Architecture, CpuidFacts, split_signature};
use tabagent_hardware::ggml_variants::{best, table};
use tabagent_hardware::variant::{
    self, explain_chain, fallback_chain, required_features, variant_name,
};

const RECORDED: &str = include_str!("data/cpus.txt");

struct Row {
    facts: CpuidFacts,
    variant: String,
    runnable: String,
    module: String,
    processor: String,
    source: String,
}

/// Adds the features that `words` name, and takes away those that they deny.
fn apply(features: &mut BTreeSet<String>, words: &str, sets: &BTreeMap<String, BTreeSet<String>>) {
    for word in words.split_whitespace() {
        match word.strip_prefix('-') {
            Some(denied) => match denied.strip_suffix('*') {
                Some(prefix) => features.retain(|feature| !feature.starts_with(prefix)),
                None => drop(features.remove(denied)),
            },
            None => match sets.get(word) {
                Some(set) => features.extend(set.iter().cloned()),
                None => drop(features.insert(word.to_owned())),
            },
        }
    }
}

fn recorded() -> Vec<Row> {
    let mut sets = BTreeMap::new();
    let mut rows = Vec::new();
    for line in RECORDED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut features = BTreeSet::new();
        if let Some((name, words)) = line
            .strip_prefix("set ")
            .and_then(|rest| rest.split_once('='))
        {
            apply(&mut features, words, &sets);
            sets.insert(name.trim().to_owned(), features);
            continue;
        }
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [
            vendor,
            signature,
            words,
            variant,
            runnable,
            module,
            processor,
            source,
        ] = fields[..]
        else {
            panic!("a row has eight fields: {line}");
        };
        apply(&mut features, words, &sets);
        let (family, model, stepping) =
            split_signature(u32::from_str_radix(signature, 16).unwrap());
        rows.push(Row {
            facts: CpuidFacts {
                architecture: Architecture::X86,
                vendor: vendor.to_owned(),
                family,
                model,
                stepping,
                features: features.into_iter().collect(),
            },
            variant: variant.to_owned(),
            runnable: runnable.to_owned(),
            module: module.to_owned(),
            processor: processor.to_owned(),
            source: source.to_owned(),
        });
    }
    rows
}

#[test]
fn every_recorded_processor_gets_its_name() {
    for row in recorded() {
        assert_eq!(
            variant_name(&row.facts),
            row.variant,
            "{}: {:x?}",
            row.processor,
            row.facts
        );
    }
}

#[test]
fn every_recorded_processor_gets_the_best_that_it_can_run() {
    for row in recorded() {
        let chain = fallback_chain(&row.variant, &row.facts.features);
        let why = explain_chain(&row.variant, &row.facts.features);
        assert_eq!(
            chain.first(),
            Some(&row.runnable),
            "{}: {why:#?}",
            row.processor
        );
    }
}

#[test]
fn every_recorded_processor_gets_its_ggml_module() {
    for row in recorded() {
        let module = best(table(Architecture::X86), &row.facts.features).map(|module| module.name);
        assert_eq!(module, Some(row.module.as_str()), "{}", row.processor);
    }
}

#[test]
fn the_record_is_broad() {
    let rows = recorded();
    let real = rows
        .iter()
        .filter(|row| !["qemu", "none"].contains(&row.source.as_str()));
    let signatures: BTreeSet<_> = real
        .map(|row| {
            (
                row.facts.vendor.clone(),
                row.facts.family,
                row.facts.model,
                row.facts.stepping,
            )
        })
        .collect();
    assert!(signatures.len() >= 100, "{}", signatures.len());
    let named: BTreeSet<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    let all = named_variants();
    let unseen: Vec<_> = all
        .iter()
        .filter(|name| !named.contains(name.as_str()))
        .collect();
    assert_eq!(
        unseen,
        [&"bitnet-arm".to_owned()],
        "a name that no recorded processor gets"
    );
    for source in rows.iter().map(|row| row.source.as_str()) {
        assert!(
            [
                "lx64", "intel", "sdm", "linux", "amd", "qemu", "here", "none"
            ]
            .contains(&source),
            "{source}"
        );
    }
}

/// Every name that any family, model and stepping can get.
fn named_variants() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for architecture in [Architecture::X86, Architecture::Arm, Architecture::Other] {
        for vendor in ["AuthenticAMD", "GenuineIntel", "HygonGenuine"] {
            for (family, model, stepping) in all_signatures() {
                let features = Vec::new();
                let vendor = vendor.to_owned();
                names.insert(variant_name(&CpuidFacts {
                    architecture,
                    vendor,
                    family,
                    model,
                    stepping,
                    features,
                }));
            }
        }
    }
    names
}

fn all_signatures() -> impl Iterator<Item = (u32, u32, u32)> {
    (0..0x20).flat_map(|family| {
        (0..0x100).flat_map(move |model| [0, 5, 0xA].map(|stepping| (family, model, stepping)))
    })
}

#[test]
fn every_name_has_a_chain_that_ends_in_the_plain_build() {
    for name in named_variants() {
        assert!(
            required_features(&name).is_some(),
            "{name} is not in the table of chains"
        );
        let chain = explain_chain(&name, &[]);
        assert_eq!(chain.first().map(|link| link.variant), Some(name.as_str()));
        let tail: Vec<&str> = chain
            .iter()
            .rev()
            .take(2)
            .map(|link| link.variant)
            .collect();
        assert_eq!(tail, ["generic", "standard"], "{name}");
        let distinct: BTreeSet<&str> = chain.iter().map(|link| link.variant).collect();
        assert_eq!(
            distinct.len(),
            chain.len(),
            "{name} comes by the same name twice"
        );
        assert_eq!(
            distinct.contains(variant::PORTABLE),
            name != variant::ARM,
            "{name}"
        );
        assert_eq!(
            fallback_chain(&name, &[]).last().map(String::as_str),
            Some("generic"),
            "{name}"
        );
    }
}

#[test]
fn the_rules_for_zen_are_those_of_the_design() {
    let named = |family, model| {
        let (architecture, vendor) = (Architecture::X86, "AuthenticAMD".to_owned());
        variant_name(&CpuidFacts {
            architecture,
            vendor,
            family,
            model,
            stepping: 0,
            features: Vec::new(),
        })
    };
    for model in 0..=0xFF {
        let first = model < 0x10 || [0x11, 0x18, 0x20].contains(&model);
        assert_eq!(
            named(0x17, model),
            if first {
                "bitnet-amd-zen1"
            } else {
                "bitnet-amd-zen2"
            },
            "{model:x}"
        );
        let fourth = (0x10..=0x1F).contains(&model) || (0x60..=0xAF).contains(&model);
        assert_eq!(
            named(0x19, model),
            if fourth {
                "bitnet-amd-zen4"
            } else {
                "bitnet-amd-zen3"
            },
            "{model:x}"
        );
        assert_eq!(named(0x1A, model), "bitnet-amd-zen5", "{model:x}");
    }
}

#[test]
fn arm_has_one_name_and_no_portable_build() {
    let facts = CpuidFacts {
        architecture: Architecture::Arm,
        vendor: "ARM".to_owned(),
        family: 8,
        model: 0xD40,
        stepping: 1,
        features: ["asimd", "dotprod", "fp16", "i8mm", "sve"]
            .map(str::to_owned)
            .to_vec(),
    };
    assert_eq!(variant_name(&facts), "bitnet-arm");
    assert_eq!(
        fallback_chain("bitnet-arm", &facts.features),
        ["bitnet-arm", "standard", "generic"]
    );
}

#[test]
fn a_name_that_nobody_knows_falls_back_like_an_unknown_processor() {
    let chain = fallback_chain(
        "bitnet-via-nano",
        &["avx", "avx2", "f16c", "fma"].map(str::to_owned),
    );
    assert_eq!(chain, ["bitnet-portable", "standard", "generic"]);
    assert_eq!(required_features("bitnet-via-nano"), None);
}

#[test]
fn this_machine_has_a_name_and_can_run_something() {
    let features = tabagent_hardware::cpu::detect_facts().features;
    let name = variant::current();
    assert!(name.starts_with("bitnet-"), "{name}");
    assert!(fallback_chain(&name, &features).contains(&"standard".to_owned()));
}
