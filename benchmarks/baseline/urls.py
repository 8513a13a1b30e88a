"""The baseline's one route, under the two paths that the venue answers to."""

from django.urls import path

from benchmarks.baseline.views import OrdersView

urlpatterns = [
    path("api/orders/", OrdersView.as_view()),
    path("api/v1/orders/", OrdersView.as_view()),
]
