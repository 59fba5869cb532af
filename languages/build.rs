//! Writes the tables of facts as JSON, which the program reads sooner than TOML: every run begins with it.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=languages");
    let out = env::var("OUT_DIR")?;
    for entry in fs::read_dir("languages")? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().ok_or("a table without a name")?;
        let table: toml::Value =
            toml::from_str(&fs::read_to_string(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
        let json = Path::new(&out).join(name).with_extension("json");
        fs::write(json, serde_json::to_string(&table)?)?;
    }
    Ok(())
}
