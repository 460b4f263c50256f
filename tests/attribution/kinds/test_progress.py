"""Progress is shown when it is asked for, and nothing otherwise."""

from .conftest import ATTRIBUTORS, answers, assert_same, every_attributor


@every_attributor
def test_bars_go_by_verbose(name, module, data, capsys):
    X, y, queries = data
    silent = answers(ATTRIBUTORS[name].make(module, verbose=0).fit(X, y), queries)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    loud = answers(ATTRIBUTORS[name].make(module, verbose=1).fit(X, y), queries)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "classes: " in shown.err
    assert_same(loud, silent)
