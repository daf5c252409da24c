"""docs/settings.md is generated from the settings schema by `make docs`."""

from documentation import load_generator
from support import ROOT

from proxy.settings.schema import Settings
from proxy.settings.sources import find_model

generator = load_generator("generate_settings")


def test_the_page_is_what_the_generator_writes():
    assert (ROOT / "docs" / "settings.md").read_text() == generator.build_page(), "run make docs"


def test_every_setting_has_a_text_and_every_text_a_setting():
    sections = {
        name: set(model.model_fields)
        for name, field in Settings.model_fields.items()
        if (model := find_model(field)) is not None
    }
    texts = {name: set(members) for name, members in generator.TEXTS.items() if name in sections}

    assert texts == sections
