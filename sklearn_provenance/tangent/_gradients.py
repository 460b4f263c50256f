"""Gradients of rows in all layers of a network.

Shapes in comments as in :mod:`._forms`.
"""

import torch


class Gradients:
    """Gradients of rows in all layers of a network that have an influence.

    Parameters
    ----------
    forms : dict
        Form by number of the layer.
    norms : torch.Tensor of shape (B,), default=None
        Squared norms in double precision, where they are known.

    Attributes
    ----------
    nbytes : int
        Bytes that the forms take.
    """

    def __init__(self, forms, norms=None):
        self.forms = forms
        self.norms = norms
        self.nbytes = sum(form.nbytes for form in forms.values())

    @classmethod
    def compact_together(cls, forms, n_rows=None, dtype=None):
        """Compute the norms of forms, and keep each in the form that takes least memory.

        Parameters
        ----------
        forms : list of dict
            Form by number of the layer, at each of some labels. They are emptied layer by layer,
            which frees memory.
        n_rows : int, default=None
            B, where norms are computed; None computes none.
        dtype : torch.dtype, default=None
            Precision to keep; None keeps nothing but the norms.

        Returns
        -------
        list of Gradients
            One for each label; they share the tensors that the forms share.
        """
        norms = [None] * len(forms)
        if n_rows is not None:
            norms = [torch.zeros(n_rows, dtype=torch.float64) for _ in forms]
        kept = [{} for _ in forms]
        for number in sorted(set().union(*forms)):
            shared = {}
            for place, of_label in enumerate(forms):
                if number not in of_label:
                    continue
                form = of_label.pop(number).compact()
                if n_rows is not None:
                    norms[place] = norms[place].to(form.device)
                    norms[place] += form.norms()
                if dtype is not None:
                    kept[place][number] = form.cast(dtype, shared)
        return [cls(*one) for one in zip(kept, norms, strict=True)]

    @classmethod
    def concatenated(cls, parts):
        """Join batches of equal signature, which are emptied layer by layer.

        ``parts`` is a list of batches for each of some labels; what is joined shares the tensors
        that the batches share.
        """
        if len(parts[0]) == 1:
            return [batches[0] for batches in parts]
        joined = [{} for _ in parts]
        for number in sorted(set().union(*(batches[0].forms for batches in parts))):
            shared = {}
            for result, batches in zip(joined, parts, strict=True):
                if number in batches[0].forms:
                    forms = [batch.forms.pop(number) for batch in batches]
                    result[number] = type(forms[0]).concatenate(forms, shared)
        return [cls(one) for one in joined]

    def tensors(self):
        """Return the tensors of all forms by their id."""
        tensors = [tensor for form in self.forms.values() for tensor in form.tensors().values()]
        return {id(tensor): tensor for tensor in tensors}

    def __getitem__(self, rows):
        """Select the gradients of some rows: a slice or a tensor of row numbers on the CPU."""
        if isinstance(rows, slice):
            return Gradients({number: form[rows] for number, form in self.forms.items()})
        return Gradients({n: form[rows.to(form.device)] for n, form in self.forms.items()})

    @property
    def signature(self):
        """What batches must agree on to be joined."""
        return {number: form.signature for number, form in self.forms.items()}

    @property
    def n_numbers(self):
        """Numbers that are kept."""
        return sum(form.n_numbers for form in self.forms.values())

    def matrices(self):
        """Return the gradients (B, O, I) of each layer by number."""
        return {number: form.matrix() for number, form in self.forms.items()}

    def cast(self, dtype):
        """Convert to another precision."""
        return Gradients({number: form.cast(dtype) for number, form in self.forms.items()})

    def copy_rows(self, source, to):
        """Write the gradients of some rows over those of others, in place."""
        for form in self.forms.values():
            for tensor in form.tensors().values():
                if tensor.stride(0) == 0:  # one row that stands for all, as positions looked up
                    continue
                tensor[to.to(tensor.device)] = tensor[source.to(tensor.device)]

    def inner(self, other, result):
        """Add inner products (B, B') with the gradients of other rows to ``result``."""
        for number in sorted(self.forms.keys() & other.forms.keys()):
            result += self.forms[number].inner(other.forms[number])
        return result
