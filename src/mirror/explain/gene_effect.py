"""By how much each gene goes along with a number of patients, beside all other genes.

The number is regressed on the genes of the patients who are explained. A head's own slopes answer another question:
over hundreds of genes a head has weights that cancel noise, and they say little of where its signal sits (Haufe et al.,
2014). Covariances of single genes with the number say that, but every gene of a programme that moves the number a
little has one. The ridge regression between the two takes a programme, which many genes tell, for one thing, and does
not follow directions that so few patients cannot tell from chance: its penalty is the largest eigenvalue that as many
uncorrelated genes have in as many patients, `(1 + sqrt(G / N))^2` (Geman, 1980).

Legend: N patients, G genes, B numbers.
"""

from __future__ import annotations

import numpy as np

from mirror.evaluation.metrics import Floats


def gene_effects(genes_NG: Floats, numbers_NB: Floats) -> Floats:
    """(G, B): coefficients of the ridge regression of numbers on genes, in standard deviations of the number.

    `genes_NG` in standard deviations of the gene. Times one and the penalty, so that a gene which varies by one and
    with no other has its covariance with the number. Zero where a gene or a number never varies.
    """
    numbers = numbers_NB - numbers_NB.mean(axis=0)
    deviation = numbers.std(axis=0)
    left, values, right = np.linalg.svd(genes_NG - genes_NG.mean(axis=0), full_matrices=False)
    count, genes = genes_NG.shape
    penalty = (1 + np.sqrt(genes / count)) ** 2
    shrunk = (1 + penalty) * values / (values**2 + count * penalty)
    return right.T @ (shrunk[:, None] * (left.T @ (numbers / np.where(deviation > 0, deviation, np.inf))))
