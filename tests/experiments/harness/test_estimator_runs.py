from experiments.harness import estimator_runs


def test_classes_arrive_two_at_a_time():
    table = estimator_runs.load_table("digits")
    settings = estimator_runs.settings_of("digits", "sffa")
    by_way = {(setting.way, setting.stored, setting.calibrated): setting for setting in settings}
    assert len(by_way) == len(settings) == 10

    def accuracy(way, stored=None):
        setting = by_way[way, stored, True]
        return estimator_runs.measure(table, "sffa", setting, 0, max_iter=10)["test_accuracy"]

    forgets = accuracy(estimator_runs.CLASS_BY_CLASS, 0)
    remembers = accuracy(estimator_runs.CLASS_BY_CLASS, 500)
    assert forgets < 0.35 < 0.7 < remembers < accuracy(estimator_runs.TOGETHER)
