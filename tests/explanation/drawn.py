"""What a figure shows."""

import matplotlib.pyplot as plt


def texts_of(display):
    """Every text of a drawn figure with its box, in pixels."""
    figure = display.figure_
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    found = [t for t in figure.findobj(plt.Text) if t.get_visible() and t.get_text().strip()]
    return [(text, text.get_window_extent(renderer)) for text in found]
